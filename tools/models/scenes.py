"""Labelled pictures for the two tasks: one digit to classify, several digits to find.

Picture `index` of a stream and seed depends on nothing else, whatever the order of drawing.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from tools.models.digits_data import (
    Source,
    develop,
    draw_background,
    draw_clutter,
    draw_glyph,
    paste,
)

if TYPE_CHECKING:
    import numpy.typing as npt

CLASSIFIER_SIZE = 64
DETECTOR_SIZE = 160
MAX_DIGITS = 9


def generator(stream: str, seed: int, index: int) -> np.random.Generator:
    """Return the random generator of one picture of a named stream."""
    return np.random.default_rng((zlib.crc32(stream.encode()), seed, index))


def classification_scene(
    source: Source, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], int]:
    """Draw one digit near the middle, with a cut-off neighbour, clutter behind it and noise.

    Returns:
        Picture uint8 [64, 64, 3] and its class.
    """
    size = CLASSIFIER_SIZE
    picture = draw_clutter(draw_background(source, rng, size), rng, int(rng.integers(0, 3)))
    for _ in range(rng.integers(0, 2)):
        neighbour = draw_glyph(
            source.digits[rng.integers(len(source.digits))], rng, rng.uniform(18, 40)
        )
        radius, angle = rng.uniform(30, 38), rng.uniform(0, 2 * np.pi)
        corner = (
            int(size / 2 + radius * np.sin(angle) - neighbour.shape[0] / 2),
            int(size / 2 + radius * np.cos(angle) - neighbour.shape[1] / 2),
        )
        paste(picture, neighbour, corner, rng.uniform(20, 110), rng)
    chosen = int(rng.integers(len(source.digits)))
    glyph = draw_glyph(source.digits[chosen], rng, rng.uniform(26, 50))
    corner = (
        int((size - glyph.shape[0]) / 2 + rng.uniform(-7, 7)),
        int((size - glyph.shape[1]) / 2 + rng.uniform(-7, 7)),
    )
    paste(picture, glyph, corner, rng.uniform(85, 150), rng)
    return develop(picture, rng, 14), int(source.labels[chosen])


def detection_scene(
    source: Source, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw one to nine digits of very different sizes that overlap little.

    Returns:
        Picture uint8 [160, 160, 3], boxes float32 [n, 4] (left, top, right, bottom in pixels) and
        classes int64 [n].
    """
    size = DETECTOR_SIZE
    picture = draw_clutter(draw_background(source, rng, size), rng, int(rng.integers(0, 7)))
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for _ in range(rng.integers(1, MAX_DIGITS + 1)):
        chosen = int(rng.integers(len(source.digits)))
        glyph = draw_glyph(
            source.digits[chosen], rng, float(np.exp(rng.uniform(np.log(14), np.log(88))))
        )
        height, width = glyph.shape
        if height >= size or width >= size:
            continue
        top, left = int(rng.integers(size - height)), int(rng.integers(size - width))
        box = (left, top, left + width, top + height)
        if any(_covered(box, other) > 0.15 for other in boxes):
            continue
        paste(picture, glyph, (top, left), rng.uniform(50, 150), rng)
        boxes.append(box)
        labels.append(int(source.labels[chosen]))
    return (
        develop(picture, rng, 16),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
    )


def _covered(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    """Return the intersection of two boxes as a share of the smaller one."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return max(width, 0) * max(height, 0) / max(min(areas), 1)
