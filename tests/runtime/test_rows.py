from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.runtime.rows import sampled_rows
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

TEXT = "f (float[N,3,T] x) => (float[N,3,T] y) { y = Neg(x) }"


def feeds(count: int, width: int = 50) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield {"x": rng.normal(size=(1, 3, width)).astype(np.float32)}


def test_rows_are_positions_with_all_channels() -> None:
    found = sampled_rows(build(TEXT), feeds(3), {"y": 1}, per_sample=4)["y"]
    positions = np.concatenate([-f["x"][0].T for f in feeds(3)])
    assert found.rows.shape == (12, 3)
    assert all((positions == row).all(axis=1).any() for row in found.rows)


def test_the_range_is_that_of_all_positions() -> None:
    found = sampled_rows(build(TEXT), feeds(3), {"x": 1, "y": 1}, per_sample=1)
    everything = np.concatenate([f["x"] for f in feeds(3)])
    np.testing.assert_array_equal(found["x"].high, everything.max(axis=(0, 2)))
    np.testing.assert_array_equal(found["y"].low, -everything.max(axis=(0, 2)))


def test_few_positions_are_all_kept() -> None:
    assert sampled_rows(build(TEXT), feeds(2, 3), {"y": 1}, per_sample=9)["y"].rows.shape == (6, 3)
    assert sampled_rows(build(TEXT), feeds(2, 0), {"y": 1}, per_sample=9)["y"].rows.shape == (0, 3)


def test_infinite_values_and_no_samples_are_told() -> None:
    bad = [{"x": np.full((1, 3, 2), np.inf, np.float32)}]
    with pytest.raises(DataError, match="value 'y' becomes NaN or infinite at sample 0"):
        sampled_rows(build(TEXT), bad, {"y": 1}, per_sample=4)
    with pytest.raises(DataError, match="there is no sample"):
        sampled_rows(build(TEXT), [], {"y": 1}, per_sample=4)
