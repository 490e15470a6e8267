"""Outputs of detectors made by hand: a few objects on the cells of a picture of 64 by 64 pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["SIZE", "Head", "cells", "head", "logit"]

SIZE = (64, 64)


class Head(NamedTuple):
    """One row a cell: centre and size in pixels, scores by class, one objectness."""

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    objectness: npt.NDArray[np.float32]

    @property
    def corners(self) -> npt.NDArray[np.float32]:
        centre, half = self.boxes[:, :2], self.boxes[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], axis=1)


def cells(strides: tuple[int, ...] = (8, 16, 32), anchors: int = 1) -> npt.NDArray[np.float32]:
    """Centre and stride of every cell, [rows, 3]; all of one anchor come first."""
    rows = []
    for stride in strides:
        sides = np.meshgrid(*[np.arange(side // stride) for side in SIZE], indexing="ij")
        y, x = (side.ravel() * stride + stride / 2 for side in sides)
        rows += [np.stack([x, y, np.full_like(x, stride)], axis=1)] * anchors
    return np.concatenate(rows).astype(np.float32)


def head(
    classes: int = 3, strides: tuple[int, ...] = (8, 16, 32), anchors: int = 1, seed: int = 0
) -> Head:
    """A head that finds three objects of different classes and little else."""
    rng = np.random.default_rng(seed)
    places = cells(strides, anchors)
    count = len(places)
    shift = rng.uniform(-0.5, 0.5, (count, 2)) * places[:, 2:]
    sizes = rng.uniform(1.5, 3, (count, 2)) * places[:, 2:]
    scores = rng.uniform(0.001, 0.02, (count, classes))
    objectness = rng.uniform(0.001, 0.02, (count, 1))
    for number, place in enumerate(rng.choice(count, 3, replace=False)):
        scores[place, number % classes] = 0.95
        objectness[place] = 0.97
    boxes = np.concatenate([places[:, :2] + shift, sizes], axis=1)
    return Head(*(array.astype(np.float32) for array in (boxes, scores, objectness)))


def logit(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.log(scores / (1 - scores)), np.float32)
