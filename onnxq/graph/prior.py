"""What BatchNormalization tells of values without data: mean and deviation of each channel.

Training leaves the moments of a BatchNormalization's input in the model, and its parameters say
what they are behind it. Rewrites fold it away, so they write down what it knew, and whoever scales,
shifts, joins or moves channels does the same to what is written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onnxq.graph.query import shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from onnxq.graph.affine import Affine

__all__ = ["Prior", "carry_prior", "forget_lost", "join_prior"]

Prior = dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Value name → mean and standard deviation, float32 [channels] each, of axis 1. The arrays are
replaced, never written to."""


def carry_prior(prior: Prior | None, old: str | None, new: str | None, affine: Affine) -> None:
    """Writes down what is known of value ``new`` = scale · ``old`` + shift."""
    if prior is None or old not in prior or not new:
        return
    mean, deviation = prior[old]
    prior[new] = (
        np.asarray(mean * affine.scale + affine.shift, np.float32),
        np.asarray(deviation * np.abs(affine.scale), np.float32),
    )


def join_prior(prior: Prior | None, parts: Sequence[str | None], new: str | None) -> None:
    """Writes down what is known of value ``new``, which holds the channels of all ``parts``."""
    known = [prior.get(part) if prior and part else None for part in parts]
    found = [entry for entry in known if entry is not None]
    if prior is None or not new or len(found) < len(known):
        return
    means, deviations = zip(*found, strict=True)
    prior[new] = np.concatenate(means), np.concatenate(deviations)


def forget_lost(prior: Prior, graph: ir.Graph) -> None:
    """Drops what ``prior`` says of values that are gone, or have another number of channels."""
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    sizes = {str(value.name): _channels(value) for value in values}
    for name, (mean, _) in list(prior.items()):
        if sizes.get(name, 0) not in (None, mean.size):
            del prior[name]


def _channels(value: ir.Value) -> int | None:
    """Returns the size of axis 1, 0 where there is none, None where it is not known."""
    shape = shape_of(value)
    if shape is None:
        return None
    return shape[1] if len(shape) > 1 else 0
