"""Digits and backgrounds that ship with scikit-learn, split so that no test pixel is trained on.

The split follows the original digit index: the last fifth of `load_digits` is for testing.
Photographs are cut into two vertical strips with a gap between them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    import numpy.typing as npt

Split = Literal["train", "test"]

FIRST_TEST_DIGIT = 1437
PHOTO_COLUMNS: dict[Split, slice] = {"train": slice(208, 640), "test": slice(0, 192)}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class Source:
    """What one split may draw from.

    Attributes:
        digits: Ink of each digit, uint8 [n, 8, 8], 0 (paper) to 255.
        labels: Class of each digit, int64 [n].
        indices: Position of each digit in `load_digits`, int64 [n].
        photos: RGB cuts of the photographs, each uint8 [height, width, 3].
    """

    digits: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    photos: tuple[npt.NDArray[np.uint8], ...]


def load_source(split: Split) -> Source:
    """Load the digits and photograph columns of one split."""
    from sklearn.datasets import load_digits, load_sample_images

    bunch = load_digits()
    indices = np.arange(len(bunch.target), dtype=np.int64)
    chosen = indices[
        indices < FIRST_TEST_DIGIT if split == "train" else indices >= FIRST_TEST_DIGIT
    ]
    return Source(
        digits=np.clip(bunch.images[chosen] * (255 / 16), 0, 255).astype(np.uint8),
        labels=bunch.target[chosen].astype(np.int64),
        indices=chosen,
        photos=tuple(
            np.ascontiguousarray(photo[:, PHOTO_COLUMNS[split]])
            for photo in load_sample_images().images
        ),
    )


def draw_background(source: Source, rng: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    """Cut a square from a photograph, resize it and shift its brightness and contrast.

    Returns:
        float32 [size, size, 3], values 0 to 255.
    """
    photo = source.photos[rng.integers(len(source.photos))]
    height, width = photo.shape[:2]
    side = int(rng.integers(min(48, width), min(height, width) + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    cut = Image.fromarray(photo[top : top + side, left : left + side])
    picture = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR), np.float32)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if rng.random() < 0.3:
        picture = picture[..., rng.permutation(3)]
    gain, shift = rng.uniform(0.5, 1.2), rng.uniform(-30, 40)
    picture = (picture - 128) * np.float32(gain) + np.float32(128 + shift)
    return np.clip(picture, 0, 255).astype(np.float32, copy=False)


def draw_glyph(
    digit: npt.NDArray[np.uint8], rng: np.random.Generator, size: float
) -> npt.NDArray[np.float32]:
    """Render one digit with random rotation, shear, aspect and stroke weight.

    Args:
        digit: Ink, uint8 [8, 8].
        rng: Source of randomness.
        size: Height of the 8x8 cell on the canvas, in pixels.

    Returns:
        Opacity 0 to 1, float32 [height, width], cropped to the ink.
    """
    angle, shear = rng.normal(0, 0.18), rng.normal(0, 0.15)
    stretch = np.exp(rng.normal(0, 0.12))
    canvas = int(np.ceil(size * 1.7)) + 2
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(rotate @ np.array([[stretch, shear], [0.0, 1.0]]) * (size / 8))
    offset = np.array([6.0, 6.0]) - inverse @ np.array([canvas / 2, canvas / 2])
    coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
    padded = Image.fromarray(np.pad(digit, 2))
    ink = padded.transform(
        (canvas, canvas), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC
    )
    threshold, softness = rng.uniform(0.38, 0.6), rng.uniform(0.15, 0.5)
    opacity = np.clip(
        (np.asarray(ink, np.float32) / 255 - threshold) / softness + 0.5, 0, 1
    ).astype(np.float32)
    rows, columns = np.flatnonzero(opacity.max(1) > 0.4), np.flatnonzero(opacity.max(0) > 0.4)
    if not len(rows):
        return np.ones((1, 1), np.float32)
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def paste(
    picture: npt.NDArray[np.float32],
    glyph: npt.NDArray[np.float32],
    corner: tuple[int, int],
    contrast: float,
    rng: np.random.Generator,
) -> None:
    """Paint a glyph about `contrast` grey levels darker or lighter than what lies below it.

    Args:
        picture: float32 [size, size, 3], changed in place.
        glyph: Opacity, float32 [height, width].
        corner: Top and left of the glyph in pixels; parts outside the picture are cut off.
        contrast: Wanted difference of luma to the mean of the covered pixels.
        rng: Source of randomness.
    """
    top, left = corner
    area = (
        slice(max(top, 0), max(min(top + glyph.shape[0], picture.shape[0]), 0)),
        slice(max(left, 0), max(min(left + glyph.shape[1], picture.shape[1]), 0)),
    )
    below = picture[area]
    if below.size == 0:
        return
    opacity = glyph[
        area[0].start - top : area[0].stop - top, area[1].start - left : area[1].stop - left, None
    ]
    base = below.mean((0, 1))
    sign = 1.0 if base @ LUMA + rng.normal(0, 50) < 128 else -1.0
    colour = np.clip(base + sign * contrast + rng.normal(0, 20, 3), 0, 255).astype(np.float32)
    below += opacity * np.float32(rng.uniform(0.8, 1.0)) * (colour - below)


def draw_clutter(
    picture: npt.NDArray[np.float32], rng: np.random.Generator, count: int
) -> npt.NDArray[np.float32]:
    """Draw `count` random lines, arcs and rings over a picture.

    Returns:
        A new picture, float32 [size, size, 3], values 0 to 255.
    """
    if not count:
        return picture
    image = Image.fromarray(picture.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    size = picture.shape[0]
    for _ in range(count):
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        width = int(rng.integers(1, 4))
        x, y = rng.uniform(0, size, 2)
        dx, dy = rng.uniform(6, size / 3, 2)
        if rng.random() < 0.5:
            pen.line((x, y, x + dx * rng.choice([-1, 1]), y + dy), fill=colour, width=width)
        else:
            start = float(rng.uniform(0, 360))
            pen.arc(
                (x, y, x + dx, y + dy),
                start,
                start + float(rng.uniform(60, 360)),
                fill=colour,
                width=width,
            )
    return np.asarray(image, np.float32)


def develop(
    picture: npt.NDArray[np.float32], rng: np.random.Generator, noise: float
) -> npt.NDArray[np.uint8]:
    """Add sensor noise of up to `noise` grey levels and round to uint8 [size, size, 3]."""
    grain = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0, noise))
    return np.clip(picture + grain + 0.5, 0, 255).astype(np.uint8)
