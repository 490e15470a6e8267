"""Holds the reference to onnxruntime, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq import reference
from tests.support import Level, model, run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[Any]

_LEVELS: tuple[Level, ...] = ("off", "all")

__all__ = ["assert_same_bits", "computed", "integers"]


def assert_same_bits(source: str | ir.Model, **given: npt.ArrayLike) -> dict[str, Array]:
    """Asserts that the outputs are those of onnxruntime, with and without optimizations.

    Returns:
        The outputs.
    """
    graph = model(source) if isinstance(source, str) else source
    feeds = {name: np.asarray(array) for name, array in given.items()}
    found = reference.run(graph, feeds)
    for level in _LEVELS:
        wanted = run(graph, feeds, level)
        assert list(found) == list(wanted)
        for name, array in wanted.items():
            assert found[name].dtype == array.dtype, name
            assert found[name].shape == np.shape(array), name
            np.testing.assert_array_equal(found[name], array, err_msg=f"{name}, {level}")
    return found


def computed(text: str, **feeds: npt.ArrayLike) -> Array:
    """Returns the first output of the reference alone."""
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    return next(iter(reference.run(model(text), arrays).values()))


def integers(
    rng: np.random.Generator, dtype: str, shape: tuple[int, ...], *, at_most: int | None = None
) -> Array:
    """Returns random integers of a type, all of its range unless bounded in magnitude."""
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    if at_most is not None:
        low, high = max(low, -at_most), min(high, at_most)
    return rng.integers(low, high, shape, dtype, endpoint=True)
