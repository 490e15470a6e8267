"""Cells of a picture, and boxes on them."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.tasks.grid import Grid, grid_of, is_level, on_grid
from tests.tasks.scenes import head


@pytest.mark.parametrize(
    ("rows", "size", "strides", "anchors"),
    [
        (8400, (640, 640), (8, 16, 32), 1),
        (10647, (416, 416), (8, 16, 32), 3),
        (525, (160, 160), (8, 16, 32), 1),
        (2125, (320, 320), (8, 16, 32, 64), 1),
    ],
)
def test_rows_are_the_cells_of_three_or_more_strides(
    rows: int, size: tuple[int, int], strides: tuple[int, ...], anchors: int
) -> None:
    assert grid_of(rows, size) == Grid(size, strides, anchors)


@pytest.mark.parametrize(("rows", "size"), [(300, (640, 640)), (8400, None), (0, (64, 64))])
def test_other_numbers_of_rows_are_no_cells(rows: int, size: tuple[int, int] | None) -> None:
    assert grid_of(rows, size) is None


def test_one_level_is_found_where_it_is_looked_for() -> None:
    assert grid_of(400, (640, 640)) is None
    assert grid_of(400, (640, 640), fewest=1) == Grid((640, 640), (32,), 1)


@pytest.mark.parametrize("anchors", [1, 3])
def test_decoded_boxes_lie_on_their_cells(anchors: int) -> None:
    centres = head(anchors=anchors).boxes[:, :2]
    grid = Grid((64, 64), (8, 16, 32), anchors)

    assert on_grid(centres, grid)
    assert on_grid(centres / 64, grid)
    assert not on_grid(np.random.default_rng(0).random(centres.shape), grid)
    assert not on_grid(np.ones_like(centres), grid)


@pytest.mark.parametrize(
    ("level", "cells"), [((8, 8), True), ((2, 2), True), ((64, 64), False), ((8, 16), False)]
)
def test_a_level_has_the_cells_of_one_stride(level: tuple[int, int], cells: bool) -> None:
    assert is_level(level, (64, 64)) is cells
