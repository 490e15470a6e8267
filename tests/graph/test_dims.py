from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.dims import Dim, entries_of
from tests.passes.rewrite.building import build

_CONSTANTS = {
    "zero": np.array(0),
    "two": np.array(2),
    "zeros": np.array([0]),
    "ones": np.array([1]),
    "minus": np.array([-1]),
    "last": np.array([2**62]),
}


def entries(body: str) -> list[object] | None:
    """What is known of ``n``; x is [N,6,4]."""
    inputs = (
        "float[N,6,4] x, int64 zero, int64 two, int64[1] zeros, int64[1] ones, int64[1] minus, "
        "int64[1] last"
    )
    graph = build(f"f ({inputs}) => (int64 n) {{ {body} }}", **_CONSTANTS).graph
    x = graph.inputs[0]
    found = entries_of(graph.outputs[0])
    return (
        None
        if found is None
        else ["N" if entry == Dim(x, 0) else entry for entry in found.reshape(-1)]
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("n = Shape(x)", ["N", 6, 4]),
        ("n = Shape<start=1>(x)", [6, 4]),
        ("s = Shape(x) n = Gather(s, two)", [4]),
        ("s = Shape(x) n = Slice(s, minus, last)", [4]),
        ("s = Shape(x) n = Slice(s, zeros, ones, zeros)", ["N"]),
        ("s = Shape(x) g = Gather(s, two) n = Div(g, two)", [2]),
        ("s = Shape(x) g = Gather(s, two) m = Mul(g, two) n = Add(m, two)", [10]),
        ("s = Shape(x) g = Gather(s, two) n = Sub(g, two)", [2]),
        ("s = Shape(x) g = Gather(s, zero) u = Unsqueeze(g, zeros) n = Concat<axis=0>(u, ones)",
         ["N", 1]),
        ("s = Shape(x) l = Slice(s, minus, last) n = Squeeze(l)", [4]),
        ("s = Shape(x) n = Reshape(s, minus)", ["N", 6, 4]),
        ("s = Shape(x) c = Cast<to=6>(s) n = Cast<to=7>(c)", ["N", 6, 4]),
        ("s = Shape(x) e = Equal(s, minus) n = Where(e, minus, s)", ["N", 6, 4]),
        ("s = Shape<end=1>(x) e = Equal(s, minus) n = Where(e, ones, s)", ["N"]),
        ("s = Shape<start=2>(x) e = Equal(s, s) n = Where(e, ones, s)", [1]),
        ("s = Shape<end=1>(x) e = Equal(s, ones) n = Where(e, ones, s)", None),
        ("s = Shape(x) g = Gather(s, zero) n = Mul(g, two)", None),
        ("s = Shape(x) g = Gather(s, two) n = Div(g, minus)", None),
        ("s = Shape(x) n = Neg(s)", None),
        ("s = Shape(x) c = Cast<to=1>(s) n = Cast<to=7>(c)", None),
    ],
)  # fmt: skip
def test_what_is_known_of_a_shape(body: str, expected: list[object] | None) -> None:
    assert entries(body) == expected


def test_long_arrays_are_data() -> None:
    graph = build("f (int64[65] d) => (int64[65] y) { y = Identity(d) }", d=np.arange(65)).graph
    assert entries_of(graph[0].inputs[0]) is None
