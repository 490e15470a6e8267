from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.moves import keeps_batch, moved, moved_channels
from onnxq.graph.query import shape_of
from tests.passes.rewrite.building import build

_SHAPE = (2, 3, 1, 4)


@pytest.mark.parametrize(
    ("node", "kept"),
    [
        ("Flatten(x)", True),
        ("Flatten<axis=2>(x)", False),
        ("Flatten<axis=0>(x)", False),
        ("Flatten<axis=-1>(x)", False),
        ("Squeeze(x, two)", True),
        ("Squeeze(x, back)", True),
        ("Unsqueeze(x, two)", True),
        ("Unsqueeze(x, back)", True),
        ("Unsqueeze(x, none)", False),
        ("Transpose<perm=[0,2,3,1]>(x)", True),
    ],
)
def test_numbers_are_moved_as_onnx_says(node: str, kept: bool) -> None:
    source = build(
        f"f (float[2,3,1,4] x, int64[1] two, int64[1] back, int64[1] none) => (float[A] y)"
        f" {{ y = {node} }}".replace("float[A]", "float"),
        two=np.array([2]),
        back=np.array([-2]),
        none=np.array([0]),
    )
    found = moved(source.graph[0], [np.arange(24).reshape(_SHAPE)])
    assert found is not None
    assert keeps_batch(source.graph[0], found) is kept


def test_a_squeeze_without_axes_is_not_known() -> None:
    source = build("f (float[2,3,1,4] x) => (float[2,3,4] y) { y = Squeeze(x) }")
    assert moved(source.graph[0], [np.arange(24).reshape(_SHAPE)]) is None


def test_a_squeeze_of_what_is_not_1_is_not_known() -> None:
    source = build(
        "f (float[2,3,1,4] x, int64[1] a) => (float[2,1,4] y) { y = Squeeze(x, a) }",
        a=np.array([2]),
    )
    assert moved(source.graph[0], [np.arange(24).reshape(2, 3, 4, 1)]) is None


def test_channels_that_come_together() -> None:
    source = build(
        """f (float[N,3,2] x, float[N,1,2] z) => (float[N,4,2] j, float[N,6] f, float[N,2,3] t) {
            j = Concat<axis=1>(x, z)
            f = Flatten(x)
            t = Transpose<perm=[0,2,1]>(x) }"""
    )
    join, flatten, transpose = source.graph
    ours, theirs = np.array([5, 6, 7]), np.array([9])
    np.testing.assert_array_equal(moved_channels(join, [ours, theirs]), [[5], [6], [7], [9]])
    np.testing.assert_array_equal(
        moved_channels(flatten, [ours]), np.repeat(ours, 2).reshape(-1, 1)
    )
    mixed = moved_channels(transpose, [ours])
    assert mixed is not None
    assert [set(row) for row in mixed.tolist()] == [{5, 6, 7}, {5, 6, 7}]
    assert shape_of(transpose.outputs[0]) == (None, 2, 3)


def test_channels_are_not_known_where_the_batch_is_moved() -> None:
    source = build("f (float[N,3] x) => (float[3,N] y) { y = Transpose(x) }")
    assert moved_channels(source.graph[0], [np.arange(3)]) is None
