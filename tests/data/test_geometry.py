"""Resize rules: sizes, centres, borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onnxq.data.geometry import FILTERS, crop, letterbox, stretch

BILINEAR = Image.Resampling.BILINEAR
SIDES = st.integers(1, 70)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def ramp(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.dstack([x, y, np.zeros_like(x)]).astype(np.uint8))


@given(width=SIDES, height=SIDES, size=SIZES, extra=st.integers(0, 20))
def test_every_rule_gives_the_size(
    width: int, height: int, size: tuple[int, int], extra: int
) -> None:
    image = ramp(width, height)
    results = [
        stretch(image, size, BILINEAR),
        crop(image, size, min(size) + extra, BILINEAR),
        letterbox(image, size, 114, BILINEAR),
    ]
    assert [(result.height, result.width) for result in results] == [size] * 3


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_keeps_a_plain_image(name: str) -> None:
    result = stretch(Image.new("RGB", (9, 7), (10, 20, 30)), (4, 5), FILTERS[name])
    assert np.asarray(result).tolist() == [[[10, 20, 30]] * 5] * 4


def test_area_averages_the_pixels_it_shrinks() -> None:
    image = Image.fromarray(np.array([[0, 10, 100, 110], [20, 30, 120, 130]], np.uint8))
    assert np.asarray(stretch(image, (1, 2), FILTERS["area"])).tolist() == [[15, 115]]


def test_crop_cuts_the_centre() -> None:
    pixels = np.asarray(crop(ramp(40, 20), (10, 10), 20, BILINEAR))
    assert (pixels[0, 0, 0], pixels[0, 0, 1], pixels[-1, -1, 0]) == (15, 5, 24)


def test_crop_resizes_the_shorter_side_first() -> None:
    image = Image.fromarray(np.repeat(np.array([[0, 90, 90, 0]], np.uint8), 2, axis=0))
    nearest = Image.Resampling.NEAREST
    assert np.asarray(crop(image, (4, 4), 4, nearest)).tolist() == [[90] * 4] * 4


def test_crop_covers_a_size_wider_than_the_image() -> None:
    pixels = np.asarray(crop(ramp(20, 40), (10, 30), 10, BILINEAR))
    assert pixels[:, :, 0].max() == 19
    assert pixels[:, :, 0].min() == 0


def test_letterbox_centres_and_fills() -> None:
    pixels = np.asarray(letterbox(Image.new("RGB", (40, 20), (1, 2, 3)), (41, 40), 114, BILINEAR))
    rows = [int(row[0, 0]) for row in pixels]
    assert rows == [114] * 10 + [1] * 20 + [114] * 11


def test_letterbox_fills_gray_images_too() -> None:
    pixels = np.asarray(letterbox(Image.new("L", (2, 4), 9), (4, 4), 50, BILINEAR))
    assert pixels.tolist() == [[50, 9, 9, 50]] * 4


def test_letterbox_keeps_a_pixel_of_a_very_narrow_image() -> None:
    pixels = np.asarray(letterbox(Image.new("L", (1000, 1), 9), (8, 8), 0, BILINEAR))
    assert (pixels == 9).any()
