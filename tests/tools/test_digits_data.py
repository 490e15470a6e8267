"""The generated data: reproducible, and nothing of the test split ever enters training."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from tools.models.digits_data import FIRST_TEST_DIGIT, PHOTO_COLUMNS, draw_glyph, load_source, paste
from tools.models.scenes import (
    CLASSIFIER_SIZE,
    DETECTOR_SIZE,
    MAX_DIGITS,
    classification_scene,
    detection_scene,
    generator,
)


def test_splits_share_no_digit_and_lose_none() -> None:
    train, test = load_source("train"), load_source("test")
    assert set(train.indices).isdisjoint(test.indices)
    assert len(train.indices) + len(test.indices) == 1797
    assert train.indices.max() < FIRST_TEST_DIGIT <= test.indices.min()


def test_splits_share_no_digit_image() -> None:
    train, test = (
        {digit.tobytes() for digit in load_source(split).digits} for split in ("train", "test")
    )
    assert train.isdisjoint(test)


def test_splits_share_no_photograph_column() -> None:
    columns = [set(range(640)[part]) for part in PHOTO_COLUMNS.values()]
    assert columns[0].isdisjoint(columns[1])


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_class_is_present(split: str) -> None:
    source = load_source("train" if split == "train" else "test")
    assert set(source.labels) == set(range(10))
    assert source.digits.shape == (len(source.labels), 8, 8)


def test_a_scene_depends_on_stream_seed_and_index_alone() -> None:
    source = load_source("train")
    alone = classification_scene(source, generator("stream", 3, 5))
    for index in range(5):
        classification_scene(source, generator("stream", 3, index))
    again = classification_scene(source, generator("stream", 3, 5))
    np.testing.assert_array_equal(alone[0], again[0])
    assert alone[1] == again[1]


@pytest.mark.parametrize(
    "key", [("other", 3, 5), ("stream", 4, 5), ("stream", 3, 6)], ids=["stream", "seed", "index"]
)
def test_another_key_gives_another_scene(key: tuple[str, int, int]) -> None:
    source = load_source("train")
    picture, _ = classification_scene(source, generator("stream", 3, 5))
    assert not np.array_equal(picture, classification_scene(source, generator(*key))[0])


def test_classification_scene_has_the_size_and_type_of_the_model() -> None:
    picture, label = classification_scene(load_source("test"), generator("stream", 0, 0))
    assert picture.shape == (CLASSIFIER_SIZE, CLASSIFIER_SIZE, 3)
    assert picture.dtype == np.uint8
    assert 0 <= label <= 9


def test_boxes_lie_inside_the_picture() -> None:
    source = load_source("train")
    for index in range(30):
        picture, boxes, labels = detection_scene(source, generator("stream", 0, index))
        assert picture.shape == (DETECTOR_SIZE, DETECTOR_SIZE, 3)
        assert len(boxes) == len(labels) <= MAX_DIGITS
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= DETECTOR_SIZE


def test_glyph_is_cropped_to_its_ink() -> None:
    source = load_source("train")
    glyph = draw_glyph(source.digits[0], generator("stream", 0, 0), 40.0)
    for border in (glyph[0], glyph[-1], glyph[:, 0], glyph[:, -1]):
        assert border.max() > 0.4


@pytest.mark.parametrize("corner", [(-9, 3), (3, -9), (20, 3), (3, 20), (-30, -30)])
def test_glyph_outside_the_picture_changes_nothing(corner: tuple[int, int]) -> None:
    picture = np.full((16, 16, 3), 50, np.float32)
    paste(picture, np.ones((8, 8), np.float32), corner, 100.0, generator("stream", 0, 0))
    assert (picture == 50).all()


def test_glyph_across_the_border_is_cut() -> None:
    picture = np.zeros((16, 16, 3), np.float32)
    paste(picture, np.ones((8, 8), np.float32), (-4, 12), 100.0, generator("stream", 0, 0))
    assert (picture[:4, 12:] > 0).any()
    assert (picture[4:] == 0).all()
    assert (picture[:, :12] == 0).all()
