from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from onnxq.config import Config
from onnxq.data.calibration import CalibrationData
from onnxq.errors import ConfigError, DataError
from tests.support import model

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SOURCE = model("f (float[N,2] x) => (float[N,2] y) { y = Relu(x) }")


def numbered(count: int) -> npt.NDArray[np.float32]:
    """Sample i holds i."""
    return np.repeat(np.arange(count, dtype=np.float32)[:, None], 2, axis=1)


def opened(count: int = 16, **options: Any) -> CalibrationData:  # noqa: ANN401
    return CalibrationData.open({"x": numbered(count)}, SOURCE, Config(**options))


def held(feeds: Any) -> list[int]:  # noqa: ANN401
    return [int(feed["x"][0, 0]) for feed in feeds]


def test_no_data_are_no_samples() -> None:
    none = CalibrationData.open(None, SOURCE, Config())
    assert not none.any
    assert (none.calibration, none.held_out, none.judges()) == ((), (), ())
    assert none.probes() == []
    assert list(none.feeds([0, 1])) == []
    assert list(none.spread(3)) == []


@pytest.mark.parametrize(
    ("available", "asked", "used"), [(16, 64, 16), (16, 8, 8), (100, 0, 100), (100, 64, 64)]
)
def test_three_quarters_calibrate_and_the_rest_judges(
    available: int, asked: int, used: int
) -> None:
    data = opened(available, samples=asked)
    assert len(data.calibration) + len(data.held_out) == used
    assert not set(data.calibration) & set(data.held_out)
    assert len(data.held_out) == used // 4
    assert data.judges() == data.held_out


def test_one_sample_does_both() -> None:
    data = opened(1)
    assert (data.calibration, data.held_out, data.judges()) == ((0,), (), (0,))


def test_the_seed_decides() -> None:
    first, again, other = (opened(100, samples=20, seed=seed) for seed in (1, 1, 2))
    assert (first.calibration, first.held_out) == (again.calibration, again.held_out)
    assert first.calibration != other.calibration


def test_samples_are_spread_over_sub_folders(tmp_path: Path) -> None:
    for place, count in enumerate((40, 8, 100)):
        (tmp_path / f"{place}").mkdir()
        np.save(tmp_path / f"{place}" / "x.npy", np.full((count, 2), place, np.float32))
    data = CalibrationData.open(tmp_path, SOURCE, Config(samples=24))
    assert Counter(held(data.feeds(data.calibration))) == {0: 6, 1: 6, 2: 6}
    assert Counter(held(data.feeds(data.held_out))) == {0: 2, 1: 2, 2: 2}


def test_samples_without_sub_folders_are_chosen_as_ever() -> None:
    data = opened(100, samples=8)
    assert data.calibration == (10, 20, 40, 53, 62, 75)
    assert data.held_out == (31, 87)


def test_feeds_are_the_samples_of_these_numbers() -> None:
    assert held(opened().feeds([3, 5, 11])) == [3, 5, 11]


@pytest.mark.parametrize("count", [1, 3, 12, 50])
def test_spread_takes_calibration_samples_evenly(count: int) -> None:
    data = opened(16)
    found = held(data.spread(count))
    assert len(found) == min(count, 12)
    assert set(found) <= set(data.calibration)
    places = [data.calibration.index(number) for number in found]
    assert places == sorted(set(places))
    gaps = np.diff([*places, len(data.calibration)])
    assert gaps.max() - gaps.min() <= 1


def test_a_spread_can_be_taken_again() -> None:
    data = opened(16)
    assert held(data.spread(4)) == held(data.spread(4))


def test_the_probe_is_a_calibration_sample() -> None:
    data = opened(16)
    assert held(data.probes()) == [data.calibration[0]]


def test_unknown_preprocessing_is_refused_even_without_data() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        CalibrationData.open(None, SOURCE, Config(preprocess="nonsense"))


def test_preprocessing_without_data_is_refused_unless_it_is_embedded() -> None:
    with pytest.raises(ConfigError, match="give --data"):
        CalibrationData.open(None, SOURCE, Config(preprocess="yolo"))
    embedded = Config(preprocess="yolo", embed_preprocess=True)
    assert not CalibrationData.open(None, SOURCE, embedded).any


def test_data_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError):
        CalibrationData.open({"x": np.ones((4, 3), np.float32)}, SOURCE, Config())


def test_a_model_that_tells_needs_no_preprocessing_option(tmp_path: Path) -> None:
    for level in (10, 200):
        Image.new("RGB", (9, 7), (level,) * 3).save(tmp_path / f"{level}.png")
    taught = model("f (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu(x) }")
    with pytest.raises(DataError, match="need --preprocess"):
        CalibrationData.open(tmp_path, taught, Config())
    taught.metadata_props.update({"names": "{}", "stride": "8", "task": "detect"})
    data = CalibrationData.open(tmp_path, taught, Config())
    assert data.source is not None
    assert "letterbox to 8x8" in data.source.describe()
    assert "Ultralytics" in data.source.describe()
    (first, _) = data.source.feeds([0, 1])
    assert first["x"][0, :, 4, 4] == pytest.approx([10 / 255] * 3)
    asked = CalibrationData.open(tmp_path, taught, Config(preprocess="raw"))
    assert asked.source is not None
    assert "stretch" in asked.source.describe()
