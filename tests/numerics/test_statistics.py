from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.errors import DataError, OutputError
from onnxq.numerics.statistics import Stats, ValueStats

# Whole numbers, so that sums are exact and merging can be compared bit for bit.
PARTS = hnp.arrays(np.float32, (2, 3, 4), elements=st.integers(-1000, 1000).map(float))


def same(a: ValueStats, b: ValueStats) -> bool:
    fields = ("minimum", "maximum", "total", "square_total")
    pairs = [(a.moments, b.moments)]
    if a.channels is not None and b.channels is not None:
        pairs.append((a.channels, b.channels))
    return (
        (a.channels is None) == (b.channels is None)
        and a.channel_axis == b.channel_axis
        and a.histogram.same_as(b.histogram)
        and all(x.count == y.count for x, y in pairs)
        and all(np.array_equal(getattr(x, f), getattr(y, f)) for x, y in pairs for f in fields)
    )


def some_stats() -> Stats:
    rng = np.random.default_rng(0)
    return Stats(
        {
            "b/ü": ValueStats.of(rng.standard_normal((1, 3, 5, 5)), 1),
            "a": ValueStats.of(rng.standard_normal((4,))),
            "zero": ValueStats.of(np.zeros((1, 2)), 1),
        },
        samples=5,
    )


@given(PARTS, PARTS, PARTS)
def test_merge_is_associative(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], c: npt.NDArray[np.float32]
) -> None:
    x, y, z = (ValueStats.of(part, 1) for part in (a, b, c))
    assert same(x.merge(y).merge(z), x.merge(y.merge(z)))


@given(PARTS, PARTS)
def test_merge_equals_the_whole(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> None:
    whole = ValueStats.of(np.concatenate([a, b]), 1)
    assert same(ValueStats.of(a, 1).merge(ValueStats.of(b, 1)), whole)


def test_merge_drops_channels_of_different_layout() -> None:
    x = np.ones((2, 3), np.float32)
    merged = ValueStats.of(x, 0).merge(ValueStats.of(x, 1))
    assert merged.channels is None
    assert merged.channel_axis is None
    assert (merged.count, merged.mean, merged.std) == (12, 1.0, 0.0)


def test_stats_merge_by_value_and_count_samples() -> None:
    one = ValueStats.of(np.array([1.0]))
    two = ValueStats.of(np.array([3.0]))
    merged = Stats({"x": one, "y": one}, 1).merge(Stats({"x": two, "z": two}, 2))
    assert merged.samples == 3
    assert (merged["x"].minimum, merged["x"].maximum) == (1.0, 3.0)
    assert sorted(merged.values) == ["x", "y", "z"]


def test_a_saved_file_loads_as_it_was(tmp_path: Path) -> None:
    stats = some_stats()
    stats.save(tmp_path / "stats.npz")
    loaded = Stats.load(tmp_path / "stats.npz")
    assert loaded.samples == 5
    assert set(loaded.values) == set(stats.values)
    assert all(same(loaded[name], stats[name]) for name in stats.values)


def test_no_values_save_and_load(tmp_path: Path) -> None:
    Stats().save(tmp_path / "stats.npz")
    assert Stats.load(tmp_path / "stats.npz").values == {}


def test_the_same_statistics_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_stats().save(tmp_path / "a.npz")
    monkeypatch.setattr("time.time", lambda: 2e9)
    some_stats().save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_a_broken_file_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stats.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"stats\.npz"):
        Stats.load(tmp_path / "stats.npz")


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        Stats.load(tmp_path / "none.npz")


def test_other_arrays_are_a_data_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros(3))
    with pytest.raises(DataError, match="holds no statistics"):
        Stats.load(tmp_path / "x.npz")


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Stats().save(tmp_path / "none" / "stats.npz")
