"""What onnxruntime makes of lowered models: integer kernels where the plan says so, and only there.

Every model runs with optimizations off and on, and close to the float model (:func:`quantized`).
"""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.share_params import ShareParams
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.lower.optimized import between_convs, lowered, optimized_ops, quantized
from tests.passes.plan.planning import context_for
from tests.passes.rewrite.building import build, rng_weight
from tests.support import run


def assert_all_integer(ops: dict[str, int]) -> None:
    """One way into the integers, one way out for each output, and nothing else in floats."""
    real = ("Conv", "FusedConv", "Gemm", "Add", "Mul", "Sigmoid", "QuickGelu", "Relu", "LeakyRelu",
            "Concat", "HardSwish", "HardSigmoid", "GlobalAveragePool")  # fmt: skip
    assert not [op for op in real if ops.get(op)]
    assert ops.get("QuantizeLinear") == 1
    assert ops.get("DequantizeLinear") == 1


@pytest.mark.parametrize(
    ("middle", "kernels"),
    [
        ("r = Relu(c)", {}),
        ("r = LeakyRelu<alpha = 0.1>(c)", {"QLinearLeakyRelu": 1}),
        ("r = Sigmoid(c)", {"QLinearSigmoid": 1}),
        ("g = Sigmoid(c) r = Mul(c, g)", {"QLinearSigmoid": 1, "QLinearMul": 1}),
        ("r = HardSwish(c)", {"Clip": 1, "QLinearMul": 1}),
        ("r = GlobalAveragePool(c)", {"QLinearGlobalAveragePool": 1}),
        ("d = LeakyRelu(c) r = Add(d, c)", {"QLinearAdd": 1}),
        ("d = Add(c, c) r = Relu(d)", {"QLinearAdd": 1}),
        ("p = GlobalAveragePool(c) g = Sigmoid(p) r = Mul(c, g)", {"QLinearMul": 1}),
        ("d = Sigmoid(c) r = Concat<axis = 2>(d, c)", {"QLinearConcat": 1}),
    ],
    ids=[
        "relu", "leaky-relu", "sigmoid", "silu", "hard-swish", "global-average-pool",
        "residual", "add-then-relu", "squeeze-excite", "concat",
    ],
)  # fmt: skip
def test_an_operator_between_convolutions_runs_on_codes(
    middle: str, kernels: dict[str, int]
) -> None:
    ops = quantized(between_convs(middle), layers=4).ops
    assert ops["QLinearConv"] == 2
    assert {op: ops[op] for op in kernels} == kernels
    assert_all_integer(ops)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 6.0), (0.0, 1.0), (-1.0, 1.0), (-1.0, 6.0), (-2.0, 3.0), (-0.7, 0.9)],
)
def test_clip_vanishes_into_the_convolution(low: float, high: float) -> None:
    source = between_convs(
        "r = Clip(c, low, high)", values="float low, float high", low=low, high=high
    )
    assert_all_integer(quantized(source).ops)


@pytest.mark.parametrize("method", ["minmax", "percentile", "kl", "mse", "lp:1"])
def test_relu6_vanishes_whatever_fitted_the_range(method: str) -> None:
    source = between_convs(
        "r = Clip(c, low, high)", values="float low, float high", low=0.0, high=6.0
    )
    context = context_for(source)
    plan = AssignIntegers().revise(context, QuantPlan())
    plan = FitWeights().revise(context, FitActivations(method).revise(context, plan))
    params = plan.values["r"].params
    assert params is not None
    assert params.scale <= 6 / 254.5
    assert_all_integer(optimized_ops(lowered(source, plan)))


def test_max_pool_moves_codes_behind_a_convolution() -> None:
    made = quantized(between_convs("r = MaxPool<kernel_shape = [2,2], strides = [2,2]>(c)"))
    a, b = made.plan.values["c"].params, made.plan.values["r"].params
    assert a is not None
    assert b is not None
    assert a.same_as(b)
    assert_all_integer(made.ops)
    assert made.ops["NhwcMaxPool"] == 1


@pytest.mark.parametrize(
    "middle",
    [
        "r = Transpose<perm = [0,1,3,2]>(c)",
        "a, d = Split<axis = 2, num_outputs = 2>(c) r = Add(a, d)",
        'r = Resize<mode = "nearest">(c, , scales)',
        "r = Slice(c, start, end)",
    ],
    ids=["transpose", "split", "resize", "slice"],
)
def test_moving_operators_keep_the_codes(middle: str) -> None:
    source = between_convs(
        middle,
        values="float[4] scales, int64[4] start, int64[4] end",
        scales=np.array([1, 1, 2, 2], np.float32),
        start=np.array([0, 0, 1, 1]),
        end=np.array([1, 6, 5, 5]),
    )
    assert_all_integer(quantized(source).ops)


def test_shared_params_make_concat_a_copy() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[6,4,1,1] w, float[3,4,1,1] u, float[3,9,1,1] v)
            => (float[1,3,8,8] y) {
            c = Conv(x, w)
            d = Conv(x, u)
            r = Concat<axis = 1>(c, d)
            y = Conv(r, v) }""",
        w=rng_weight(6, 4, 1, 1), u=rng_weight(3, 4, 1, 1, seed=2), v=rng_weight(3, 9, 1, 1),
    )  # fmt: skip
    context = context_for(source)
    plan = AssignIntegers().revise(context, QuantPlan())
    plan = ShareParams().revise(context, plan)
    plan = FitWeights().revise(context, FitActivations("minmax").revise(context, plan))
    assert plan.group_of("r") == {"c", "d", "r"}
    made = lowered(source, plan)
    assert_all_integer(optimized_ops(made))
    feed = next(iter(context.samples(1)))
    scale = float(plan.values["y"].params.scale.max())  # type: ignore[union-attr]
    assert np.abs(run(made, feed, "all")["y"] - run(made, feed)["y"]).max() <= 2.001 * scale


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("trans", [0, 1])
def test_gemm_runs_on_codes_and_gives_floats(trans: int, bias: bool) -> None:
    shape = "6,8" if trans else "8,6"
    source = build(
        f"""f (float[3,8] x, float[{shape}] w, float[6] b) => (float[3,6] y) {{
            y = Gemm<transB = {trans}>(x, w{", b" if bias else ""}) }}""",
        w=rng_weight(*(int(n) for n in shape.split(","))), b=rng_weight(6),
    )  # fmt: skip
    ops = quantized(source).ops
    assert ops["QGemm"] == 1
    assert ops["Gemm"] == 0


def test_gemm_with_quantized_output_absorbs_relu() -> None:
    source = build(
        """f (float[3,8] x, float[8,8] w, float[8] b, float[8,8] v) => (float[3,8] y) {
            c = Gemm(x, w, b)
            r = Relu(c)
            y = Gemm<transB = 1>(r, v) }""",
        w=rng_weight(8, 8), b=rng_weight(8), v=rng_weight(8, 8, seed=1),
    )  # fmt: skip
    ops = quantized(source).ops
    assert ops["QGemm"] == 2
    assert ops["Gemm"] + ops["Relu"] == 0


def test_matmul_without_bias_runs_on_codes() -> None:
    source = build(
        """f (float[1,5,8] x, float[8,8] w, float[8,8] v) => (float[1,5,8] y) {
            c = MatMul(x, w)
            y = MatMul(c, v) }""",
        w=rng_weight(8, 8), v=rng_weight(8, 8, seed=1),
    )  # fmt: skip
    ops = quantized(source).ops
    assert ops["QLinearMatMul"] == 1
    assert ops["MatMulIntegerToFloat"] == 1


@pytest.mark.parametrize("order", ["m, b", "b, m"])
def test_a_bias_added_to_matmul_does_not_make_it_float(order: str) -> None:
    source = build(
        f"""f (float[1,5,8] x, float[8,6] w, float[6] b) => (float[1,5,6] y) {{
            m = MatMul(x, w)
            y = Add({order}) }}""",
        w=rng_weight(8, 6), b=rng_weight(6),
    )  # fmt: skip
    ops = quantized(source).ops
    assert ops["QGemm"] + ops["MatMulIntegerToFloat"] == 1
    assert ops["Gemm"] + ops["MatMul"] == 0


def test_a_convolution_at_a_graph_output_runs_on_codes() -> None:
    source = build(
        "f (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,6,6] y) { y = Conv(x, w) }",
        w=rng_weight(6, 4, 3, 3),
    )
    made = quantized(source)
    assert_all_integer(made.ops)
    assert [node.op_type for node in made.model.graph][-1] == "DequantizeLinear"


def test_a_convolution_that_floats_read_too_runs_on_codes() -> None:
    source = between_convs("r = Relu(c) t = Tanh(c) z = Identity(t)")
    source.graph.outputs.append(source.graph.node("node_z").outputs[0])
    made = quantized(source, tolerance=0.25)
    assert made.ops["QLinearConv"] == 2
    assert made.ops["Conv"] + made.ops["FusedConv"] == 0


@pytest.mark.parametrize(
    ("middle", "kept"),
    [
        ("r = AveragePool<kernel_shape = [2,2]>(c)", "AveragePool"),
        ("r = Softmax<axis = 1>(c)", "Softmax"),
        ("r = Tanh(c)", "Tanh"),
    ],
    ids=["average-pool", "softmax", "tanh"],
)
def test_what_is_slow_on_codes_stays_float(middle: str, kept: str) -> None:
    ops = quantized(between_convs(middle), tolerance=0.25).ops
    assert ops["QLinearConv"] == 2
    assert ops[kept] == 1


@pytest.mark.parametrize("per_channel", [True, False], ids=["channel", "tensor"])
@pytest.mark.parametrize("behind", ["r = Conv(c, k)", "d = Conv(c, k) r = Relu(d)"])
def test_a_kept_convolution_stays_float_between_integer_ones(
    behind: str, per_channel: bool
) -> None:
    source = between_convs(behind, values="float[6,6,3,3] k", k=rng_weight(6, 6, 3, 3))
    name = "node_d" if "d = " in behind else "node_r"
    assign = AssignIntegers(keep_float=(name,), per_channel=per_channel)
    ops = quantized(source, assign).ops
    assert ops["QLinearConv"] == 2
    assert ops["Conv"] + ops["FusedConv"] == 1


def test_a_kept_matmul_stays_float_between_integer_ones() -> None:
    source = build(
        """f (float[3,8] x, float[8,8] w, float[8,8] k, float[8,8] v) => (float[3,8] y) {
            c = MatMul(x, w)
            d = MatMul(c, k)
            y = MatMul(d, v) }""",
        w=rng_weight(8, 8), v=rng_weight(8, 8, seed=1), k=rng_weight(8, 8, seed=2),
    )  # fmt: skip
    ops = quantized(source, AssignIntegers(keep_float=("node_d",))).ops
    assert ops["MatMul"] + ops["Gemm"] == 1


def test_a_batch_norm_left_behind_does_not_make_the_convolution_float() -> None:
    ones = np.ones(6, np.float32)
    source = between_convs("r = BatchNormalization(c, g, g, g, g)", values="float[6] g", g=ones)
    ops = quantized(source).ops
    assert ops["QLinearConv"] == 2
    assert ops["BatchNormalization"] == 1


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ("4,8", "6,4,3", ""),
        ("4,5,5,5", "6,4,3,3,3", ""),
        ("4,8,8", "6,2,3,3", "<group = 2>"),
        ("4,8,8", "4,1,3,3", "<group = 4>"),
        ("4,8,8", "4,4,3,3", "<pads = [1,1,1,1], strides = [2,2], dilations = [2,2]>"),
    ],
    ids=["1d", "3d", "grouped", "depthwise", "square-strided-dilated"],
)
def test_convolutions_of_every_rank_and_grouping(x: str, w: str, attributes: str) -> None:
    rest = ",".join("MNPQ"[: x.count(",")])
    source = build(
        f"""f (float[1,{x}] x, float[{w}] w, float[{w[0]}] b) => (float[1,{w[0]},{rest}] y) {{
            y = Conv{attributes}(x, w, b) }}""",
        w=rng_weight(*(int(n) for n in w.split(","))), b=rng_weight(int(w[0])),
    )  # fmt: skip
    ops = quantized(source).ops
    assert ops["QLinearConv"] == 1
    assert ops["Conv"] == 0
