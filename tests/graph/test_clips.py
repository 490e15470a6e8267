from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.clips import bounded_clip, clip_reach, comes_near
from tests.passes.rewrite.building import build


@pytest.mark.parametrize(
    ("node", "bounds"),
    [
        ("Clip(x, zero, six)", (0, 6)),
        ("Clip(x, less, six)", (-1, 6)),
        ("Clip(x, , six)", (-np.inf, 6)),
        ("Clip(x, zero)", None),
        ("Clip(x)", None),
        ("Clip(x, six, six)", None),
        ("Clip(x, less, zero)", None),
        ("Clip(x, zero, fed)", None),
        ("Relu(x)", None),
    ],
)
def test_bounds(node: str, bounds: tuple[float, float] | None) -> None:
    source = build(
        f"f (float[1,2] x, float zero, float six, float less, float fed) => (float[1,2] y)"
        f" {{ y = {node} }}",
        zero=0.0,
        six=6.0,
        less=-1.0,
    )
    assert bounded_clip(next(iter(source.graph))) == bounds


def test_reach_is_the_part_of_the_way_to_the_nearer_bound() -> None:
    least, greatest = np.array([-4.0, -1.0, 1.0]), np.array([3.0, -0.5, 9.0])
    np.testing.assert_allclose(clip_reach((0, 6), least, greatest), [0.5, 0, 1.5])
    np.testing.assert_allclose(clip_reach((-8, 6), least, greatest), [0.5, 0.125, 1.5])
    np.testing.assert_allclose(clip_reach((-np.inf, 6), least, greatest), [0.5, 0, 1.5])


def test_a_third_of_the_way_is_not_near_but_for_rounding() -> None:
    reach = np.array([0.2, 1 / 3, (1 + 1e-6) / 3, 0.4, 2])
    np.testing.assert_array_equal(comes_near(reach), [False, False, False, True, True])
