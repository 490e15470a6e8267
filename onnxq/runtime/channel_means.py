"""Means of values per channel and sample: what bias correction compares with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.runtime.ahead import ahead
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from onnxq.runtime.session import Feed, ModelLike

__all__ = ["channel_mean", "channel_means"]


def channel_mean(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the mean of ``array`` [n, C, …] over all axes but 1, float64 [C]; NaN of nothing."""
    if not array.size:
        return np.full(array.shape[1], np.nan)
    axes = tuple(axis for axis in range(array.ndim) if axis != 1)
    return np.asarray(array.mean(axis=axes, dtype=np.float64))


def channel_means(
    model: ModelLike, values: Sequence[str], feeds: Iterable[Feed], *, threads: int = 1
) -> dict[str, npt.NDArray[np.float64]]:
    """Runs ``model``, without optimizations, and returns value name → means, float64 [samples, C].

    A sample's values are reduced and dropped while the next one runs.

    Args:
        model: Left as it is.
        values: Names of values of the main graph with channels along axis 1.
        feeds: One mapping of input name → array per sample.
        threads: Threads inside an operator.
    """
    session = make_session(model, optimize=False, threads=threads, outputs=values, spin=False)
    found: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in session.outputs}
    for arrays in ahead(session.run, feeds):
        while arrays:
            name, array = arrays.popitem()
            found[name].append(channel_mean(array))
    return {name: np.stack(means) for name, means in found.items() if means}
