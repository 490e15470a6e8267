"""Rows of values over the samples: single positions with all their channels, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.errors import DataError
from onnxq.numerics.migration import ChannelRows
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from onnxq.runtime.session import Feed, ModelLike

    Floats = npt.NDArray[np.float32]

__all__ = ["sampled_rows"]


def sampled_rows(
    model: ModelLike,
    feeds: Iterable[Feed],
    axes: Mapping[str, int],
    *,
    per_sample: int,
    threads: int = 1,
) -> dict[str, ChannelRows]:
    """Runs ``model`` over ``feeds`` and returns some rows of the named values.

    From each sample come evenly spaced positions of a value: the same at every call.

    Args:
        model: The float model; left as it is.
        feeds: Input name → array, one mapping per sample; read one at a time, once.
        axes: Value name → axis of its channels.
        per_sample: The most rows of a value that are kept of one sample.
        threads: Threads inside an operator.

    Returns:
        Value name → rows and range of each channel; the range holds 0.

    Raises:
        DataError: A value becomes NaN or infinite, or there is no sample.
        ModelError: onnxruntime refuses the model or a sample.
    """
    session = make_session(model, optimize=False, threads=threads, outputs=list(axes), spin=False)
    kept: dict[str, list[ChannelRows]] = {name: [] for name in axes}
    for number, feed in enumerate(feeds):
        arrays: dict[str, npt.NDArray[Any]] = {**feed, **session.run(feed)}
        for name, axis in axes.items():
            rows = np.moveaxis(arrays.pop(name), axis, -1)
            kept[name].append(_some(rows.reshape(-1, rows.shape[-1]), per_sample, name, number))
    if not all(kept.values()):
        raise DataError("there is no sample to observe; give calibration data with --data")
    return {name: _together(parts) for name, parts in kept.items()}


def _some(rows: npt.NDArray[Any], most: int, name: str, sample: int) -> ChannelRows:
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)
    low, high = rows.min(axis=0, initial=0), rows.max(axis=0, initial=0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError(
            f"value '{name}' becomes NaN or infinite at sample {sample}; remove that sample or keep"
            " this part float"
        )
    return ChannelRows(*(np.asarray(array, np.float32) for array in (rows[chosen], low, high)))


def _together(parts: list[ChannelRows]) -> ChannelRows:
    return ChannelRows(
        np.concatenate([part.rows for part in parts]),
        np.min([part.low for part in parts], axis=0),
        np.max([part.high for part in parts], axis=0),
    )
