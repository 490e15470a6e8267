from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.graph.query import scalar_of
from onnxq.passes.rewrite.recognize_activations import RecognizeActivationsPass
from tests.passes.rewrite.building import build, ops, rewritten

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

_FEEDS: dict[str, npt.NDArray[Any]] = {
    "x": np.linspace(-12.0, 12.0, 481, dtype=np.float32).reshape(1, 481)
}
_HEADER = '<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]>\n'


def _unary(body: str, *, opset: int = 21, **weights: float) -> ir.Model:
    declared = "".join(f", float {name}" for name in weights)
    text = f"f (float[1,481] x{declared}) => (float[1,481] y) {{ {body} }}"
    return build(_HEADER.replace("{opset}", str(opset)) + text, **weights)


def _check(expected: list[str], body: str, **weights: float) -> None:
    outcome = rewritten(RecognizeActivationsPass(), _unary(body, opset=21, **weights), _FEEDS)
    assert outcome.ops == expected
    assert outcome.modified


@pytest.mark.parametrize(
    "body",
    [
        "a = Add(x, t)\n c = Clip(a, z, s)\n m = Mul(x, c)\n y = Div(m, s)",
        "a = Add(t, x)\n c = Clip(a, z, s)\n d = Div(c, s)\n y = Mul(d, x)",
        "a = Add(x, t)\n c = Clip(a, z, s)\n d = Mul(c, r)\n y = Mul(x, d)",
        "a = Add(x, t)\n c = Clip(a, z, s)\n d = Mul(x, r)\n y = Mul(c, d)",
        "a = Add(x, t)\n c = Relu(a)\n e = Min(c, s)\n m = Mul(e, x)\n y = Div(m, s)",
        "c = HardSigmoid<alpha=0.16666667, beta=0.5>(x)\n y = Mul(x, c)",
        "m = Mul(x, r)\n a = Add(m, h)\n c = Clip(a, z, o)\n y = Mul(x, c)",
    ],
    ids=["div_last", "div_gate", "mul_gate", "mul_x", "relu_min", "hard_sigmoid", "slope"],
)
def test_hard_swish(body: str) -> None:
    _check(["HardSwish"], body, t=3.0, z=0.0, s=6.0, r=1 / 6, h=0.5, o=1.0)


def test_another_slope_is_not_hard_swish() -> None:
    graph = _unary("c = HardSigmoid<alpha=0.1667, beta=0.5>(x)\n y = Mul(x, c)")
    assert not rewritten(RecognizeActivationsPass(), graph, _FEEDS).modified


def test_hard_sigmoid() -> None:
    _check(
        ["HardSigmoid"], "a = Add(x, t)\n c = Clip(a, z, s)\n y = Div(c, s)", t=3.0, z=0.0, s=6.0
    )


@pytest.mark.parametrize(
    "body",
    [
        "n = Neg(x)\n e = Exp(n)\n a = Add(e, o)\n d = Div(o, a)\n y = Mul(x, d)",
        "n = Neg(x)\n e = Exp(n)\n a = Add(o, e)\n y = Div(x, a)",
        "n = Mul(x, i)\n e = Exp(n)\n a = Add(o, e)\n d = Reciprocal(a)\n y = Mul(d, x)",
        "y = com.microsoft.QuickGelu<alpha=1.0>(x)",
    ],
    ids=["mul", "div", "reciprocal", "quick_gelu"],
)
def test_silu(body: str) -> None:
    _check(["Sigmoid", "Mul"], body, o=1.0, i=-1.0)


def test_swish_of_opset_24() -> None:
    graph = _unary("y = Swish(x)", opset=24)
    assert RecognizeActivationsPass()(graph).modified
    assert ops(graph) == ["Sigmoid", "Mul"]


def test_quick_gelu_with_another_alpha_stays() -> None:
    graph = _unary("y = com.microsoft.QuickGelu<alpha=1.702>(x)")
    assert not rewritten(RecognizeActivationsPass(), graph, _FEEDS).modified


def test_sigmoid() -> None:
    _check(["Sigmoid"], "n = Neg(x)\n e = Exp(n)\n a = Add(o, e)\n y = Div(o, a)", o=1.0)


@pytest.mark.parametrize(
    "body",
    [
        "d = Div(x, q)\n e = Erf(d)\n a = Add(e, o)\n m = Mul(x, a)\n y = Mul(m, h)",
        "d = Mul(x, r)\n e = Erf(d)\n a = Add(o, e)\n m = Mul(a, h)\n y = Mul(x, m)",
        "k = Mul(x, h)\n d = Div(x, q)\n e = Erf(d)\n a = Add(e, o)\n y = Mul(k, a)",
        "d = Div(x, q)\n e = Erf(d)\n a = Add(e, o)\n m = Mul(x, a)\n y = Div(m, t)",
    ],
    ids=["half_last", "half_gate", "half_first", "over_two"],
)
def test_gelu(body: str) -> None:
    weights = {"q": math.sqrt(2), "r": math.sqrt(0.5), "o": 1.0, "h": 0.5, "t": 2.0}
    _check(["Gelu"], body, **weights)


@pytest.mark.parametrize(
    "cube", ["c = Pow(x, t)", "w = Mul(x, x)\n c = Mul(w, x)"], ids=["pow", "mul"]
)
def test_gelu_with_tanh(cube: str) -> None:
    body = f"""{cube}\n k = Mul(c, b)\n s = Add(x, k)\n u = Mul(s, p)\n v = Tanh(u)
        a = Add(v, o)\n m = Mul(x, a)\n y = Mul(m, h)"""
    p = math.sqrt(2 / math.pi)
    graph = _unary(body, t=3.0, b=0.044715, p=p, o=1.0, h=0.5)
    outcome = rewritten(RecognizeActivationsPass(), graph, _FEEDS)
    assert outcome.ops == ["Gelu"]
    assert graph.graph[0].attributes.get_string("approximate") == "tanh"


@pytest.mark.parametrize(
    "body",
    [
        "s = Softplus(x)\n t = Tanh(s)\n y = Mul(x, t)",
        "e = Exp(x)\n a = Add(e, o)\n s = Log(a)\n t = Tanh(s)\n y = Mul(t, x)",
    ],
    ids=["softplus", "log"],
)
def test_mish(body: str) -> None:
    _check(["Mish"], body, o=1.0)


def test_softplus() -> None:
    _check(["Softplus"], "e = Exp(x)\n a = Add(e, o)\n y = Log(a)", o=1.0)


@pytest.mark.parametrize(
    "body",
    [
        "a = Max(x, l)\n y = Min(a, u)",
        "a = Min(x, u)\n y = Max(l, a)",
        "a = Clip(x, l)\n y = Clip(a, , u)",
        "a = Clip(x, l, b)\n y = Min(a, u)",
    ],
    ids=["min_max", "max_min", "clips", "mixed"],
)
def test_clip(body: str) -> None:
    _check(["Clip"], body, l=-0.5, u=6.0, b=50.0)


@pytest.mark.parametrize(
    "body",
    [
        "a = Relu(x)\n y = Clip(a, , u)",
        "a = Relu(x)\n y = Min(u, a)",
        "a = Clip(x, l, u)\n y = Relu(a)",
    ],
    ids=["relu_clip", "relu_min", "clip_relu"],
)
def test_relu6_is_one_clip(body: str) -> None:
    graph = _unary(body, u=6.0, l=-1.0)
    assert rewritten(RecognizeActivationsPass(), graph, _FEEDS).ops == ["Clip"]
    bounds = [scalar_of(value) for value in graph.graph[0].inputs[1:]]
    assert bounds == [0.0, 6.0]


@pytest.mark.parametrize(
    "body",
    ["y = Clip(x, z)", "y = Max(x, z)", "y = Max(z, x)", "y = Clip(x, z, b)"],
    ids=["clip", "max", "max_swapped", "clip_to_largest"],
)
def test_relu(body: str) -> None:
    _check(["Relu"], body, z=0.0, b=float(np.finfo(np.float32).max))


def test_a_far_bound_is_kept() -> None:
    graph = _unary("y = Clip(x, z, b)", z=0.0, b=1e9)
    assert not rewritten(RecognizeActivationsPass(), graph, _FEEDS).modified


def test_leaky_relu() -> None:
    _check(["LeakyRelu"], "m = Mul(x, a)\n y = Max(x, m)", a=0.1)


@pytest.mark.parametrize(
    "body",
    ["y = Relu(x)", "y = Clip(x, z, s)", "y = HardSwish(x)", "g = Sigmoid(x)\n y = Mul(g, x)",
     "y = Gelu(x)", "y = Mish(x)", "y = Tanh(x)", "y = Mul(x, s)", "y = Mul(x, x)", "y = Exp(x)"],
    ids=str,
)  # fmt: skip
def test_rule_2_what_is_canonical_or_unknown_stays(body: str) -> None:
    outcome = rewritten(RecognizeActivationsPass(), _unary(body, z=0.0, s=6.0), _FEEDS)
    assert not outcome.modified
    assert outcome.reasons == []


def test_rule_3_a_value_read_outside_keeps_its_nodes() -> None:
    graph = build(
        """f (float[1,481] x, float t, float z, float s) => (float[1,481] y, float[1,481] c) {
            a = Add(x, t)
            c = Clip(a, z, s)
            m = Mul(x, c)
            y = Div(m, s) }""",
        t=3.0,
        z=0.0,
        s=6.0,
    )
    outcome = rewritten(RecognizeActivationsPass(), graph, _FEEDS)
    assert outcome.reasons == ["HardSwish, but c is also read elsewhere"]


def test_rule_4_an_old_opset_stays() -> None:
    body = "d = Div(x, q)\n e = Erf(d)\n a = Add(e, o)\n m = Mul(x, a)\n y = Mul(m, h)"
    graph = _unary(body, opset=18, q=math.sqrt(2), o=1.0, h=0.5)
    outcome = rewritten(RecognizeActivationsPass(), graph, _FEEDS)
    assert outcome.reasons == ["Gelu needs opset 20"]


def test_rule_1_integers_stay() -> None:
    graph = build("f (int32[4] x, int32 z) => (int32[4] y) { y = Max(x, z) }", z=np.int32(0))
    assert not rewritten(RecognizeActivationsPass(), graph).modified


def test_a_constant_per_channel_is_no_number() -> None:
    graph = build(
        "f (float[1,3] x, float[3] z) => (float[1,3] y) { y = Max(x, z) }",
        z=np.zeros(3, np.float32),
    )
    assert not rewritten(RecognizeActivationsPass(), graph).modified


def test_a_constant_that_widens_the_shape_ends_the_region() -> None:
    graph = build(
        "f (float[3] x, float[1,1] z) => (float[1,3] y) { y = Max(x, z) }",
        z=np.zeros((1, 1), np.float32),
    )
    assert not rewritten(RecognizeActivationsPass(), graph).modified


def test_two_inputs_are_no_function_of_one() -> None:
    graph = build(
        """f (float[1,3] x, float[1,3] z) => (float[1,3] y) {
            s = Sigmoid(z)
            y = Mul(x, s) }"""
    )
    assert not rewritten(RecognizeActivationsPass(), graph).modified


def test_inside_a_network_only_the_function_changes() -> None:
    graph = build(
        """f (float[1,481] x, float[1,481] r, float t, float z, float s) => (float[1,481] y) {
            b = Add(x, r)
            a = Add(b, t)
            c = Clip(a, z, s)
            m = Mul(b, c)
            d = Div(m, s)
            y = Add(d, x) }""",
        t=3.0,
        z=0.0,
        s=6.0,
    )
    feeds = {"x": _FEEDS["x"], "r": _FEEDS["x"] / 2}
    outcome = rewritten(RecognizeActivationsPass(), graph, feeds)
    assert outcome.ops == ["Add", "HardSwish", "Add"]
    assert [node.outputs[0].name for node in graph.graph] == ["b", "d", "y"]
    assert not graph.graph.initializers
