from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.pointwise import is_pointwise, regions
from tests.passes.rewrite.building import build
from tests.support import run

_X = np.linspace(0.25, 4.0, 16, dtype=np.float32)
_OPS = [
    "Abs(x)", "Add(x, k)", "Clip(x, k)", "Clip(x, , k)", "Div(k, x)", "Erf(x)", "Exp(x)", "Gelu(x)",
    'Gelu<approximate="tanh">(x)', "HardSigmoid(x)", "HardSigmoid<alpha=0.5, beta=0.1>(x)",
    "HardSwish(x)", "LeakyRelu(x)", "LeakyRelu<alpha=0.3>(x)", "Log(x)", "Max(x, k)", "Min(k, x)",
    "Mish(x)", "Mul(x, k)", "Neg(x)", "Pow(x, k)", "Reciprocal(x)", "Relu(x)", "Sigmoid(x)",
    "Softplus(x)", "Sqrt(x)", "Sub(k, x)", "Sum(x, k, x)", "Tanh(x)",
    "com.microsoft.QuickGelu<alpha=1.5>(x)", "com.microsoft.QuickGelu(x)",
]  # fmt: skip
_HEADER = '<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>\n'


@pytest.mark.parametrize("body", _OPS)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive", "negative"])
def test_evaluates_like_the_operator(body: str, sign: float) -> None:
    source = build(f"{_HEADER}f (float[16] x, float k) => (float[16] y) {{ y = {body} }}", k=1.5)
    x = sign * _X
    (region,) = regions(source.graph[0], {source.graph[0]: 0})
    expected = run(source, {"x": x})["y"]
    np.testing.assert_allclose(region(x.astype(np.float64)), expected, rtol=2e-6, atol=2e-7)


def test_regions_grow_past_branches_to_the_one_source() -> None:
    graph = build(
        """f (float[2] x, float[2] r, float k) => (float[2] y) {
            b = Add(x, r)
            s = Sigmoid(b)
            m = Mul(b, s)
            y = Add(m, k) }""",
        k=1.0,
    ).graph
    position = {node: index for index, node in enumerate(graph)}
    found = [(r.source.name, r.ops) for r in regions(graph[3], position)]
    assert found == [("m", ("Add",)), ("b", ("Add", "Mul", "Sigmoid"))]


def test_nodes_of_a_region_run_in_order() -> None:
    graph = build(
        "f (float[2] x, float k) => (float[2] y) { a = Add(x, k)\n b = Mul(a, x)\n y = Neg(b) }",
        k=1.0,
    ).graph
    *_, largest = regions(graph[2], {node: index for index, node in enumerate(graph)})
    assert largest.ops == ("Add", "Mul", "Neg")
    assert largest(np.array([2.0])) == -6.0
    assert largest.constants == (1.0,)


@pytest.mark.parametrize("body", ["Softmax(x)", "Add(k, k)", "Concat<axis=0>(x, x)"])
def test_not_pointwise(body: str) -> None:
    graph = build(f"f (float[2] x, float k) => (float[N] y) {{ y = {body} }}", k=1.0).graph
    assert not is_pointwise(graph[0])
