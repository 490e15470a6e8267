"""Storage of the shipped pictures: what is written is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tools.models.testset import (
    SHEET_COLUMNS,
    Annotated,
    Recipe,
    load_coco,
    load_sheet,
    save_coco,
    save_sheet,
)

if TYPE_CHECKING:
    from pathlib import Path


def flat_pictures(count: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    levels = np.random.default_rng(0).integers(30, 220, (count, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(levels, (count, size, size, 3)).copy()


def test_sheet_returns_pictures_and_labels_in_order(tmp_path: Path) -> None:
    pictures = flat_pictures(SHEET_COLUMNS + 3, 16)
    labels = np.arange(len(pictures)) % 10
    save_sheet(tmp_path, pictures, labels)
    read, classes = load_sheet(tmp_path)
    assert np.abs(read.astype(int) - pictures).max() <= 4
    np.testing.assert_array_equal(classes, labels)


def test_annotations_return_boxes_and_labels_of_every_picture(tmp_path: Path) -> None:
    boxes = [np.array([[1, 2, 5, 9], [0, 0, 4, 4]], np.float32), np.zeros((0, 4), np.float32)]
    labels = [np.array([3, 7]), np.zeros(0, np.int64)]
    save_coco(tmp_path, Annotated(flat_pictures(2, 32), boxes, labels))
    read = load_coco(tmp_path)
    assert read.pictures.shape == (2, 32, 32, 3)
    for found, wanted in zip(read.boxes, boxes, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for classes, expected in zip(read.labels, labels, strict=True):
        np.testing.assert_array_equal(classes, expected)


def test_recipe_scales_centres_and_moves_channels_first() -> None:
    recipe = Recipe(scale=1 / 255, mean=(0.5, 0.0, 0.0), std=(0.5, 1.0, 2.0))
    pictures = np.full((1, 2, 3, 3), 255, np.uint8)
    result = recipe.apply(pictures)
    assert result.shape == (1, 3, 2, 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0, :, 0, 0], [1.0, 1.0, 0.5], rtol=1e-6)
