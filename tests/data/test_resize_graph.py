"""Resize rules in the graph against Pillow: sizes, centres, borders, levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from onnxq.data.preprocess import Preprocess
from onnxq.data.preprocessor import Preprocessor
from onnxq.data.resize_graph import FILTERS

if TYPE_CHECKING:
    import numpy.typing as npt

PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
SIDES = st.integers(1, 70)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
RNG = np.random.default_rng(0)


def ramp(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.dstack([x, y, np.zeros_like(x)]).astype(np.uint8))


def texture(width: int, height: int) -> Image.Image:
    levels = RNG.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


def levels_of(image: Image.Image, size: tuple[int, int], **fields: object) -> npt.NDArray[np.int64]:
    """Returns [height, width, C] of ``image`` behind a rule."""
    rule = Preprocess(size=size, layout="nhwc", **fields)  # type: ignore[arg-type]
    return Preprocessor(rule)(image).astype(np.int64)


@settings(deadline=None, max_examples=20)
@given(width=SIDES, height=SIDES, size=SIZES, extra=st.integers(0, 20))
def test_every_rule_gives_the_size(
    width: int, height: int, size: tuple[int, int], extra: int
) -> None:
    image = ramp(width, height)
    for fields in (
        {"resize": "stretch"},
        {"resize": "crop", "short_side": min(size) + extra},
        {"resize": "letterbox"},
    ):
        if fields.get("short_side", 1):
            assert levels_of(image, size, **fields).shape == (*size, 3)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    ("old", "new"),
    [((64, 48), (20, 33)), ((30, 17), (61, 40)), ((57, 101), (90, 33)), ((7, 3), (5, 6))],
    ids=["smaller", "larger", "both", "tiny"],
)
def test_every_filter_is_pillows(name: str, old: tuple[int, int], new: tuple[int, int]) -> None:
    image = texture(*old)
    wanted = np.asarray(image.resize((new[1], new[0]), PILLOW[name])).astype(np.int64)
    difference = np.abs(levels_of(image, new, resize="stretch", filter=name) - wanted)
    if name == "nearest":
        difference = difference[np.ix_(clear(old[1], new[0]), clear(old[0], new[1]))]
    assert difference.max() <= 1
    assert difference.mean() < 0.02


@pytest.mark.parametrize("name", ["bicubic", "lanczos", "area", "hamming"])
def test_the_width_is_resized_first_even_of_tall_images(name: str) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (80, 40, 3), dtype=np.uint8))
    in_turn = noise.resize((21, 80), PILLOW[name]).resize((21, 21), PILLOW[name])
    found = levels_of(noise, (21, 21), resize="stretch", filter=name)
    assert np.abs(found - np.asarray(in_turn).astype(np.int64)).max() <= 1


def clear(old: int, new: int) -> list[int]:
    """Places whose centre lies on no border of old pixels: there the last bit would decide."""
    return [i for i in range(new) if (2 * i + 1) * old % (2 * new)]


@settings(deadline=None, max_examples=30)
@given(width=SIDES, height=SIDES, size=SIZES, name=st.sampled_from(FILTERS))
def test_every_filter_keeps_a_plain_image(
    width: int, height: int, size: tuple[int, int], name: str
) -> None:
    plain = Image.new("RGB", (width, height), (10, 20, 250))
    found = levels_of(plain, size, resize="stretch", filter=name)
    assert (found == [10, 20, 250]).all()


def test_crop_cuts_the_centre() -> None:
    pixels = levels_of(ramp(40, 20), (10, 10), resize="crop", short_side=20)
    assert (pixels[0, 0, 0], pixels[0, 0, 1], pixels[-1, -1, 0]) == (15, 5, 24)


def test_crop_resizes_the_shorter_side_first() -> None:
    row = np.repeat(np.array([[0, 90, 90, 0]], np.uint8), 2, axis=0)
    image = Image.fromarray(np.dstack([row] * 3))
    pixels = levels_of(image, (4, 4), resize="crop", short_side=4, filter="nearest")
    assert (pixels == 90).all()


def test_crop_covers_a_size_wider_than_the_image() -> None:
    pixels = levels_of(ramp(20, 40), (10, 30), resize="crop", short_side=10)
    assert pixels.shape == (10, 30, 3)
    assert pixels[:, 0, 0].max() < pixels[:, -1, 0].min()


@pytest.mark.parametrize(
    ("old", "inside"),
    [((8, 4), np.s_[2:6, :]), ((4, 8), np.s_[:, 2:6]), ((3, 3), np.s_[:, :])],
    ids=["wide", "tall", "square"],
)
def test_letterbox_fills_the_borders(old: tuple[int, int], inside: tuple[slice, slice]) -> None:
    pixels = levels_of(Image.new("RGB", old, (200,) * 3), (8, 8), resize="letterbox", fill=7)
    assert (pixels[inside] == 200).all()
    border = np.ones((8, 8), bool)
    border[inside] = False
    assert (pixels[border] == 7).all()


def test_an_odd_border_is_larger_behind() -> None:
    pixels = levels_of(Image.new("RGB", (4, 1), (9,) * 3), (4, 4), resize="letterbox", fill=1)
    assert pixels[:, 0, 0].tolist() == [1, 9, 1, 1]


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox", "none"])
def test_gray_levels_are_pillows(resize: str) -> None:
    image = texture(24, 24)
    found = levels_of(image, (24, 24), resize=resize, channels="gray", short_side=24)
    np.testing.assert_array_equal(found[:, :, 0], np.asarray(image.convert("L")))
