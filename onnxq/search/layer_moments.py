"""What a layer reads, as the second moments that rounding of its weight needs.

They are taken at some output positions of every sample: neighbours in a picture tell little new.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.weight_rows import groups_of, to_rows
from onnxq.numerics.patches import patches
from onnxq.numerics.second_moments import SecondMoments
from onnxq.runtime.segments import affordable_samples, bytes_held

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.search.coded_layer import CodedLayer

    Array = npt.NDArray[Any]

__all__ = [
    "layer_moments",
    "samples_side_by_side",
    "samples_to_round_by",
]

_BUDGET_BYTES = 1 << 29
_FEWEST, _MOST = 8, 128
_MOST_SIDE_BY_SIDE = 256
# Rows per column of H, at least, and rows at least: fewer leave H nearly singular.
_ROWS_PER_COLUMN, _LEAST_ROWS = 4, 8192
_ROWS_OF_MEAN = 8


def samples_to_round_by(shapes: Iterable[tuple[int, ...]]) -> int:
    """Returns how many samples' live values two models may hold, 8 to 128.

    Args:
        shapes: Of the values of one sample.
    """
    return affordable_samples(shapes, _BUDGET_BYTES, 2, _FEWEST, _MOST)


def samples_side_by_side(
    model: ir.Model, layers: Collection[str], shapes: Mapping[str, tuple[int, ...]]
) -> int:
    """Returns how many samples two models may hold from one layer to the next, 8 to 256.

    Args:
        model: The float model; the other is of its form.
        layers: Names of the nodes that both stop at.
        shapes: Of the values of one sample.
    """
    held = 2 * bytes_held(model, layers, shapes)
    return min(max(_BUDGET_BYTES // max(held, 1), _FEWEST), _MOST_SIDE_BY_SIDE)


def layer_moments(  # noqa: PLR0913 (the last two have defaults and are named at the call)
    layer: CodedLayer,
    reals: Sequence[Array],
    codes: Sequence[Array],
    seed: int,
    factor: npt.NDArray[np.float32] | float = 1.0,
    *,
    outputs: bool = False,
) -> SecondMoments:
    """Returns the moments of what the layer reads in two models, at the same places.

    Args:
        layer: The layer.
        reals: Its input in the float model, sample by sample.
        codes: Its input in the other model.
        seed: Of the places.
        factor: What both are multiplied by, broadcasts to [G, n, K].
        outputs: Whether to look at how much the layer's outputs vary in the float model as well.
    """
    rows = to_rows(layer.node, layer.weight)
    rng = np.random.default_rng(seed)
    wanted = max(_ROWS_PER_COLUMN * rows.shape[2], _LEAST_ROWS)
    each = -(-wanted // max(1, len(reals)))
    around = (_mean(layer, reals, seed) * factor, _mean(layer, codes, seed) * factor)
    weight = np.asarray(rows / factor, np.float32) if outputs else None
    pivots = around[0][:, 0], around[1][:, 0]
    moments = SecondMoments(rows.shape[0], rows.shape[2], pivots, weight)
    for x, x_hat in zip(reals, codes, strict=True):
        places = _places(layer, x, each, rng)
        seen = _rows(layer, x, places) * factor
        moments.add(seen, seen if x is x_hat else _rows(layer, x_hat, places) * factor)
    return moments


def _mean(layer: CodedLayer, inputs: Sequence[Array], seed: int) -> npt.NDArray[np.float32]:
    """Returns roughly the mean of what the layer reads, over all samples, float32 [G, 1, K]."""
    rng = np.random.default_rng(seed)
    means = [
        _rows(layer, x, _places(layer, x, _ROWS_OF_MEAN, rng)).mean(axis=1, keepdims=True)
        for x in inputs
    ]
    return np.asarray(np.mean(means, axis=0), np.float32)


def _places(
    layer: CodedLayer, x: Array, count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Returns at most ``count`` output positions: [n, spatial axes], or rows [n]."""
    if layer.reach is None:
        total, sizes = x.size // x.shape[-1], None
    else:
        sizes = layer.reach.outputs(x.shape[2:])
        total, count = math.prod(sizes), -(-count // x.shape[0])
    chosen = np.sort(rng.choice(total, min(count, total), replace=False))
    return chosen if sizes is None else np.stack(np.unravel_index(chosen, sizes), axis=1)


def _rows(layer: CodedLayer, x: Array, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Returns what the layer multiplies with its weight at these places, float32 [G, n, K]."""
    if layer.reach is None:
        return np.asarray(x.reshape(-1, x.shape[-1])[places], np.float32)[np.newaxis]
    reach = layer.reach
    starts = places * np.array(reach.steps)
    return patches(
        np.asarray(x, np.float32), starts, reach.offsets, groups_of(layer.node), reach.spread
    )
