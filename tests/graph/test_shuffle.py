from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.graph.shuffle import shuffle_at
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import onnx_ir as ir

_MIXED = (0, 3, 1, 4, 2, 5)


def _graph(
    perm: str, s: list[int], t: list[int], x: str = "1,6,2,3", end: str = "Relu(m)"
) -> ir.Model:
    return build(
        f"""f (float[{x}] x, int64[S] s, int64[T] t) => (float[A,B,C,D] y) {{
            a = Reshape(x, s)
            b = Transpose<perm={perm}>(a)
            m = Reshape(b, t)
            y = {end} }}""",
        s=np.array(s),
        t=np.array(t),
    )


@pytest.mark.parametrize(
    ("s", "t", "x"),
    [
        ([1, 2, 3, 2, 3], [1, 6, 2, 3], "1,6,2,3"),
        ([4, 2, 3, 2, 3], [4, 6, 2, 3], "4,6,2,3"),
        ([0, 2, 3, 2, 3], [-1, 6, 2, 3], "N,6,2,3"),
    ],
    ids=["one", "four", "any_batch"],
)
def test_names_the_channels(s: list[int], t: list[int], x: str) -> None:
    source = _graph("[0,2,1,3,4]", s, t, x)
    found = shuffle_at(source.graph[0])
    assert found is not None
    assert [(v.name, channels) for v, channels in found.exits.items()] == [("m", _MIXED)]
    assert [node.op_type for node in found.nodes] == ["Reshape", "Transpose", "Reshape"]


def test_halves_that_are_gathered() -> None:
    source = build(
        """f (float[1,6,2,2] x, int64[3] s, int64[5] t, int64 i, int64 j)
            => (float[1,3,2,2] y, float[1,3,2,2] z) {
            a = Reshape(x, s)
            b = Transpose<perm=[1,0,2]>(a)
            c = Reshape(b, t)
            y = Gather(c, i)
            z = Gather(c, j) }""",
        s=np.array([3, 2, 4]),
        t=np.array([2, -1, 3, 2, 2]),
        i=np.array(0),
        j=np.array(1),
    )
    found = shuffle_at(source.graph[0])
    assert found is not None
    assert list(found.exits.values()) == [(0, 2, 4), (1, 3, 5)]


@pytest.mark.parametrize(
    ("perm", "s", "t", "x"),
    [
        ("[0,2,1,4,3]", [1, 2, 3, 2, 2], [1, 6, 2, 2], "1,6,2,2"),
        ("[0,1,3,2,4]", [1, 2, 3, 2, 3], [1, 6, 2, 3], "1,6,2,3"),
        ("[1,0,2,3,4]", [2, 2, 3, 2, 3], [2, 6, 2, 3], "2,6,2,3"),
        ("[1,0,2,3,4]", [-1, 2, 3, 2, 3], [-1, 6, 2, 3], "N,6,2,3"),
        ("[0,2,1,3,4]", [2, 2, 3, 2, 3], [2, 6, 2, 3], "N,6,2,3"),
    ],
    ids=["height_and_width", "channels_and_height", "batch", "any_batch", "a_batch_of_two"],
)
def test_other_moves_are_none(perm: str, s: list[int], t: list[int], x: str) -> None:
    assert shuffle_at(_graph(perm, s, t, x).graph[0]) is None


def test_is_none_if_the_middle_is_read() -> None:
    source = _graph("[0,2,1,3,4]", [1, 2, 3, 2, 3], [1, 6, 2, 3], end="Mul(m, b)")
    assert shuffle_at(source.graph[0]) is None
