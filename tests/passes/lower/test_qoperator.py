"""The operators on codes: the kernels that onnxruntime makes of the QDQ form, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.graph.spec import check_qdq
from onnxq.passes.lower import lowerings
from tests.passes.plan.planning import context_for, plan_for
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    import onnx_ir as ir

CASES = {
    "conv": ("y = Conv<pads=[1,1,1,1]>(x, w3, b)", {"QLinearConv"}),
    "depthwise": ("y = Conv<group=8,pads=[1,1,1,1]>(x, wd)", {"QLinearConv"}),
    "relu": ("c = Conv(x, w1, b) y = Relu(c)", {"QLinearConv"}),
    "add": ("y = Add(x, v)", {"QLinearAdd"}),
    "add relu": ("a = Add(x, v) y = Relu(a)", {"QLinearAdd"}),
    "mul": ("y = Mul(x, v)", {"QLinearMul"}),
    "concat": ("y = Concat<axis=1>(x, v)", {"QLinearConcat"}),
    "sigmoid": ("y = Sigmoid(x)", {"QLinearSigmoid"}),
    "leaky": ("y = LeakyRelu<alpha=0.1>(x)", {"QLinearLeakyRelu"}),
    "global pool": ("y = GlobalAveragePool(x)", {"QLinearGlobalAveragePool"}),
    "moves": ("t = Transpose<perm=[0,1,3,2]>(x) y = Reshape(t, shape)", {"Transpose", "Reshape"}),
    "split": ("y, z = Split<axis=1,num_outputs=2>(x)", {"Split"}),
    "pool": ("c = Conv(x, w1) y = MaxPool<kernel_shape=[2,2]>(c)", {"MaxPool"}),
}


def forms(source: ir.Model) -> tuple[ir.Model, ir.Model]:
    plan = plan_for(context_for(source))
    made = lowerings(plan)
    qdq, codes = (made[form](source).model for form in ("qdq", "qoperator"))
    check_qdq(codes)
    return qdq, codes


@pytest.mark.parametrize("case", CASES)
def test_what_onnxruntime_makes_of_pairs(case: str) -> None:
    text, wanted = CASES[case]
    channels = {"concat": 16, "split": 4}.get(case, 8)
    source = build(
        f"""f (float[1,8,6,5] x0, float[1,8,6,5] v0, float[8,8,3,3] w3, float[8,8,1,1] w1,
            float[8,1,3,3] wd, float[8] b, int64[4] shape, float[8,{channels},1,1] wy)
            => (float[a,c,d,e] o) {{ x = Conv(x0, w1) v = Conv(v0, w1) {text} o = Conv(y, wy) }}""",
        w3=rng_weight(8, 8, 3, 3),
        w1=rng_weight(8, 8, 1, 1),
        wd=rng_weight(8, 1, 3, 3),
        b=rng_weight(8),
        shape=np.array([0, 8, 6, 5]),
        wy=rng_weight(8, channels, 1, 1),
    )
    qdq, codes = forms(source)
    found = [node.op_type for node in codes.graph]
    assert wanted <= set(found)
    assert found.count("QuantizeLinear") <= 2
    assert found.count("DequantizeLinear") == 1
    feeds = feeds_for(source, seed=9, batch=1)
    np.testing.assert_array_equal(run(codes, feeds, "all")["o"], run(qdq, feeds, "all")["o"])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("o = Gemm<transB=1>(x, w, b)", "QGemm"),
        ("o = MatMul(x, w)", "MatMulIntegerToFloat"),
        ("y = MatMul(x, w) o = MatMul(y, w)", "QLinearMatMul"),
        ("y = MatMul(x, w) o = Add(y, b)", "MatMulIntegerToFloat"),
    ],
)
def test_products_of_rows(text: str, wanted: str) -> None:
    source = build(
        f"f (float[3,8] x, float[8,8] w, float[8] b) => (float[3,8] o) {{ {text} }}",
        w=rng_weight(8, 8),
        b=rng_weight(8),
    )
    qdq, codes = forms(source)
    found = [node.op_type for node in codes.graph]
    assert wanted in found
    assert "Add" not in found
    feeds = feeds_for(source, seed=9)
    wished = run(qdq, feeds, "all")["o"]
    np.testing.assert_allclose(run(codes, feeds, "all")["o"], wished, rtol=1e-5, atol=1e-5)


def test_what_has_no_operator_stays_between_pairs() -> None:
    source = build(
        "f (float[1,8,6,5] x, float[8,8,1,1] w) => (float[1,8,6,5] o)"
        " { c = Conv(x, w) e = Erf(c) o = Conv(e, w) }",
        w=rng_weight(8, 8, 1, 1),
    )
    qdq, codes = forms(source)
    erf = next(node for node in codes.graph if node.op_type == "Erf")
    assert erf.inputs[0] is not None
    before = erf.inputs[0].producer()
    assert before is not None
    assert before.op_type == "DequantizeLinear"
    assert erf.outputs[0].consumers()[0].op_type == "QuantizeLinear"
    feeds = feeds_for(source, seed=9, batch=1)
    np.testing.assert_array_equal(run(codes, feeds, "all")["o"], run(qdq, feeds, "all")["o"])
