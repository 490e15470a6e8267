from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.graph.relayout import ports_of, put_in_order
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    import numpy.typing as npt

_ORDERS = [(0, 2, 3, 1), (0, 3, 1, 2), (3, 0, 2, 1), (1, 0, 3, 2)]
_WEIGHTS: dict[str, npt.ArrayLike] = {
    "k": rng_weight(5),
    "k2": rng_weight(4, 1),
    "k4": rng_weight(2, 1, 4, 1),
    "s": 0.5,
    "pads": np.array([0, 1, 2, 0, 0, 0, 0, 3]),
    "pads2": np.array([1, 2, 0, 1]),
    "axes": np.array([1, -1]),
    "one": np.array([1]),
    "lengths": np.array([1, 2]),
    "starts": np.array([1, 0]),
    "ends": np.array([3, -1]),
    "repeats": np.array([1, 2, 1, 3]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "scales2": np.array([2, 1.5], np.float32),
    "last": np.array([-2, -1]),
    "sizes": np.array([2, 3, 7, 9]),
    "empty": np.zeros(0, np.float32),
}
_KEEPING = [
    "Relu(x)", "Clip(x, s)", "LeakyRelu<alpha=0.2>(x)", "Add(x, k)", "Sub(k2, x)", "Mul(x, k4)",
    "Max(x, x, s)", "PRelu(x, k)", "Concat<axis=1>(x, x)", "Concat<axis=-1>(x, x, x)",
    "Softmax(x)", "Softmax<axis=1>(x)", "Pad(x, pads, s)", "Pad(x, pads2, , axes)",
    'Pad<mode="edge">(x, pads)', "ReduceMean(x, axes)", "ReduceMax(x, one)",
    "Slice(x, starts, ends)", "Slice(x, starts, ends, axes)", "Tile(x, repeats)",
    "Resize(x, , scales)", "Resize(x, empty, empty, sizes)",
    "Resize<axes=[2,3]>(x, , scales2)",
]  # fmt: skip
_OTHER = [
    "ReduceMean<keepdims=0>(x, axes)", "ArgMax<axis=1>(x)", "ArgMin<axis=-1, keepdims=0>(x)",
    "Squeeze(x, one)",
]  # fmt: skip


def _graph(body: str, x: str = "float[2,3,4,5]") -> ir.Model:
    names = [n for n in _WEIGHTS if f" {n})" in body or f" {n}," in body or f"({n}," in body]
    kinds = {
        name: "float" if np.asarray(_WEIGHTS[name]).dtype.kind == "f" else "int64" for name in names
    }
    listed = "".join(
        f", {kinds[n]}[{','.join(map(str, np.shape(_WEIGHTS[n])))}] {n}" for n in names
    )
    text = f"f ({x} x{listed}) => (y) {{ y = {body} }}"
    return build(text.replace("[]", ""), **{name: _WEIGHTS[name] for name in names})


def _run_in_order(source: ir.Model, order: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Edits the node to ``order`` and feeds it the input in that order."""
    node, graph = source.graph[0], source.graph
    x, x_dims = graph.inputs[0], feeds_for(source)["x"]
    ports = ports_of(node)
    assert ports is not None
    put_in_order(node, order)
    if ports.inputs:
        x_dims = x_dims.transpose(order)
        x.shape = ir.Shape(x_dims.shape)
    graph.outputs[0].shape = None
    found: npt.NDArray[np.float32] = run(source, {"x": x_dims})["y"]
    return found.transpose(np.argsort(order)) if ports.outputs else found


@pytest.mark.parametrize("order", _ORDERS, ids=str)
@pytest.mark.parametrize("body", _KEEPING)
def test_computes_the_same_in_any_order(body: str, order: tuple[int, ...]) -> None:
    source = _graph(body)
    expected = run(source, feeds_for(source))["y"]
    np.testing.assert_allclose(_run_in_order(source, order), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("body", _OTHER)
def test_an_axis_that_goes_may_stand_anywhere(body: str) -> None:
    source = _graph(body, "float[2,1,4,1]" if "Squeeze" in body else "float[2,3,4,5]")
    expected = run(source, feeds_for(source))["y"]
    found = _run_in_order(source, (0, 2, 1, 3) if "=-1" not in body else (0, 3, 1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_axis_that_comes_may_stand_anywhere() -> None:
    source = build(
        "f (float[2,3] x, int64[2] a) => (y) { y = Unsqueeze(x, a) }", a=np.array([1, 2])
    )
    expected = run(source, feeds_for(source))["y"]
    assert expected.shape == (2, 1, 1, 3)
    np.testing.assert_array_equal(_run_in_order(source, (0, 3, 1, 2)), expected)


def test_split_lets_all_outputs_follow() -> None:
    source = build(
        "f (float[2,3,4,5] x, int64[2] n) => (a, y) { a, y = Split<axis=1>(x, n) }",
        n=np.array([1, 2]),
    )
    node = source.graph[0]
    put_in_order(node, (0, 2, 3, 1))
    assert node.attributes.get_int("axis") == 3
    assert [list(value.shape or ()) for value in node.outputs] == [[2, 4, 5, 1], [2, 4, 5, 2]]


@pytest.mark.parametrize(
    ("body", "order", "fits"),
    [
        ("ReduceMean<keepdims=0>(x, axes)", (0, 2, 1, 3), True),
        ("ReduceMean<keepdims=0>(x, axes)", (2, 0, 1, 3), False),
        ('Resize<mode="linear">(x, , scales)', (1, 0, 2, 3), True),
        ('Resize<mode="linear">(x, , scales)', (0, 2, 3, 1), False),
        ("Squeeze(x, one)", (0, 2, 3, 1), True),
        ("Squeeze(x, one)", (0, 3, 2, 1), False),
    ],
)
def test_what_does_not_fit(body: str, order: tuple[int, ...], fits: bool) -> None:
    ports = ports_of(_graph(body, "float[2,1,4,5]").graph[0])
    assert ports is not None
    assert ports.fits(order) is fits


@pytest.mark.parametrize(
    "text",
    [
        "f (float[2,3] x) => (y) { y = Flatten(x) }",
        "f (float[2,3,4] x, float[3,4] z) => (y) { y = Add(x, z) }",
        "f (float[2,3] x, int64[1] a) => (y) { y = ReduceMean(x, a) }",
        "f (float[2,3] x, int64[4] p) => (y) { y = Pad(x, p) }",
        'f (float[2,3] x, int64[2] s) => (y) { y = Resize<mode="linear">(x, , , s) }',
        "f (float[2,3] x) => (y) { y = ReduceMean(x) }",
    ],
    ids=["other", "broadcast", "fed_axes", "fed_pads", "fed_sizes", "no_axes"],
)
def test_what_has_no_ports(text: str) -> None:
    assert ports_of(build(text).graph[0]) is None


def test_a_shared_constant_stays_for_the_other_reader() -> None:
    source = build(
        """f (float[2,3,4,5] x, float[5] k) => (y, z) {
            y = Add(x, k)
            z = Mul(x, k) }""",
        k=rng_weight(5),
    )
    add, mul = source.graph
    put_in_order(add, (0, 3, 1, 2))
    assert [list(n.inputs[1].shape or ()) for n in (add, mul) if n.inputs[1]] == [[1, 5, 1, 1], [5]]
