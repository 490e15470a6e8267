"""The integer-only form: each operator within a code of the QDQ form, the same bits everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.errors import PlanError
from onnxq.graph.io import to_bytes
from onnxq.graph.spec_integer import prove_integer
from onnxq.passes.lower.integer import LowerToInteger
from onnxq.plan.quant_plan import Use, ValuePlan
from onnxq.plan.spec import IntType, QParams
from onnxq.plan.target import load_target
from onnxq.runtime.session import make_session
from tests.passes.lower.integer_models import assert_exact, codes_of, forms
from tests.passes.plan.planning import context_for, plan_for
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

X = "float[1,8,6,5] x"
CASES = {
    "conv": "y = Conv<pads=[1,1,1,1]>(x, w3)",
    "bias": "y = Conv<pads=[1,1,1,1]>(x, w3, b)",
    "uneven pads": "y = Conv<pads=[0,1,2,0]>(x, w3)",
    "strides": "y = Conv<pads=[1,1,1,1],strides=[2,2]>(x, w3)",
    "other strides": "y = Conv<strides=[1,2]>(x, w3)",
    "dilations": "y = Conv<pads=[2,2,2,2],dilations=[2,2]>(x, w3)",
    "pointwise": "y = Conv(x, w1)",
    "strided pointwise": "y = Conv<strides=[2,2]>(x, w1)",
    "depthwise": "y = Conv<group=8,pads=[1,1,1,1]>(x, wd)",
    "groups": "y = Conv<group=2,pads=[1,1,1,1]>(x, wg)",
    "same padding": 'y = Conv<auto_pad="SAME_UPPER",strides=[2,2]>(x, w3)',
    "relu": "c = Conv(x, w1, b) y = Relu(c)",
    "clip": "c = Conv(x, w1) y = Clip(c, low, high)",
    "relu of what others read": "r = Relu(x) y = Add(r, x)",
    "relu alone": "y = Relu(x)",
    "relu behind a pool": "m = MaxPool<kernel_shape=[2,2]>(x) y = Relu(m)",
    "clip above 0": "y = Clip(x, high)",
    "clip alone": "y = Clip(x, low, high)",
    "div constant": "y = Div(x, k)",
    "add": "y = Add(x, v)",
    "add relu": "a = Add(x, v) y = Relu(a)",
    "add itself": "y = Add(x, x)",
    "add spread": "p = GlobalAveragePool(v) y = Add(x, p)",
    "add constant": "y = Add(x, k)",
    "sub": "y = Sub(x, v)",
    "sub from constant": "y = Sub(k, x)",
    "mul": "y = Mul(x, v)",
    "mul spread": "p = GlobalAveragePool(v) y = Mul(x, p)",
    "mul constant": "y = Mul(x, k)",
    "concat": "y = Concat<axis=1>(x, v)",
    "concat rows": "y = Concat<axis=-2>(x, v)",
    "leaky": "y = LeakyRelu<alpha=0.1>(x)",
    "leaky up": "y = LeakyRelu<alpha=-0.3>(x)",
    "prelu": "y = PRelu(x, k)",
    "sigmoid": "y = Sigmoid(x)",
    "tanh": "y = Tanh(x)",
    "gelu": "y = Gelu(x)",
    "gelu tanh": 'y = Gelu<approximate="tanh">(x)',
    "hard swish": "y = HardSwish(x)",
    "hard sigmoid": "y = HardSigmoid(x)",
    "elu": "y = Elu<alpha=0.7>(x)",
    "softplus": "y = Softplus(x)",
    "mish": "y = Mish(x)",
    "exp": "y = Exp(x)",
    "abs": "y = Abs(x)",
    "celu": "y = Celu<alpha=0.7>(x)",
    "erf": "y = Erf(x)",
    "neg": "y = Neg(x)",
    "selu": "y = Selu(x)",
    "softsign": "y = Softsign(x)",
    "sqrt": "a = Abs(x) y = Sqrt(a)",
    "max pool": "y = MaxPool<kernel_shape=[2,3],strides=[2,2],pads=[0,1,0,1]>(x)",
    "max pool, rounded up": "y = MaxPool<kernel_shape=[3,2],strides=[2,2],ceil_mode=1>(x)",
    "average pool": "y = AveragePool<kernel_shape=[2,2],strides=[2,1]>(x)",
    "average pool, padded": "y = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>(x)",
    "average pool, pads count": "y = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1],"
    "count_include_pad=1>(x)",
    "average pool, rounded up": "y = AveragePool<kernel_shape=[3,2],strides=[2,2],ceil_mode=1>(x)",
    "global average pool": "y = GlobalAveragePool(x)",
    "resize": 'y = Resize<mode="nearest">(x, , scales)',
    "resize linear": 'y = Resize<mode="linear">(x, , scales)',
    "resize linear, corners": 'y = Resize<mode="linear",coordinate_transformation_mode='
    '"align_corners">(x, , scales)',
    "resize linear, asymmetric": 'y = Resize<mode="linear",coordinate_transformation_mode='
    '"asymmetric">(x, , scales)',
    "transposed": "y = ConvTranspose<strides=[2,2]>(x, w3, b)",
    "transposed, cropped": "y = ConvTranspose<strides=[2,1],pads=[2,0,0,1]>(x, w3)",
    "transposed, all cropped": "y = ConvTranspose<strides=[3,3],pads=[3,2,2,2]>(x, w3)",
    "transposed, padded": "y = ConvTranspose<strides=[2,2],pads=[1,1,1,1],output_padding=[1,1]>"
    "(x, w3)",
    "transposed, dilated": "y = ConvTranspose<dilations=[2,2]>(x, w3)",
    "mean": "y = ReduceMean(x, two)",
    "pad": "y = Pad(x, pads)",
    "pad value": "y = Pad(x, pads, low)",
    "pad edge": 'y = Pad<mode="edge">(x, pads)',
    "slice": "y = Slice(x, one, four, two)",
    "transpose": "y = Transpose<perm=[0,1,3,2]>(x)",
    "split": "y, z = Split<axis=1,num_outputs=2>(x)",
    "reshape": "y = Reshape(x, shape)",
    "space": "y = DepthToSpace<blocksize=2>(x)",
}


def around(case: str, *, last: bool) -> ir.Model:
    """The case between an input, or a convolution that leaves channels last, and another layer."""
    front = "x = Conv(x0, w1, b) v = Conv(v0, w1)" if last else ""
    given = "float[1,8,6,5] x0, float[1,8,6,5] v0" if last else f"{X}, float[1,8,6,5] v"
    channels = {"concat": 16, "split": 4, "space": 2}.get(case.split(",")[0], 8)
    return build(
        f"f ({given}, float[8,8,3,3] w3, float[8,8,1,1] w1, float[8,1,3,3] wd, float[8,4,3,3] wg,"
        " float[8] b, float[8,1,1] k, float low, float high, float[4] scales, int64[8] pads,"
        " int64[1] one, int64[1] four, int64[1] two, int64[4] shape, "
        f"float[8,{channels},1,1] wy) => (float[a,c,d,e] o) {{ {front} {CASES[case]}"
        " o = Conv(y, wy) }",
        w3=rng_weight(8, 8, 3, 3),
        w1=rng_weight(8, 8, 1, 1),
        wd=rng_weight(8, 1, 3, 3),
        wg=rng_weight(8, 4, 3, 3),
        b=rng_weight(8),
        k=rng_weight(8, 1, 1),
        low=np.float32(-0.5),
        high=np.float32(0.75),
        scales=np.array([1.0, 1.0, 2.0, 2.0], np.float32),
        pads=np.array([0, 0, 1, 0, 0, 0, 0, 2]),
        one=np.array([1]),
        four=np.array([4]),
        two=np.array([2]),
        shape=np.array([0, 8, 5, 6]),
        wy=rng_weight(8, channels, 1, 1),
    )


@pytest.mark.parametrize("last", [False, True], ids=["channels second", "channels last"])
@pytest.mark.parametrize("case", CASES)
def test_within_one_code_of_qdq_and_the_same_bits_everywhere(case: str, last: bool) -> None:
    source = around(case, last=last)
    made = forms(source)
    assert not made.plan.float_nodes
    feeds = feeds_for(source, seed=100, batch=1)
    assert_exact(made.integer, feeds)
    found = codes_of(made.integer, ["x", "v", "y"], feeds)
    wanted = codes_of(made.qdq, ["x", "v", "y"], feeds)
    # the mean of two codes is a tie, which QDQ rounds to even and integers round up
    share = 0.2 if case.startswith("resize linear") else 0.05
    assert_close(found["y_quantized"], wanted["y_quantized"], 6 if last else 1, share)


def assert_close(found: np.ndarray, wanted: np.ndarray, steps: int, share: float = 0.05) -> None:
    """Within ``steps``: a code in front moves those behind by the operator's own slope."""
    if found.shape != wanted.shape:
        found = found.transpose(0, 3, 1, 2)
    distance = np.abs(found.astype(int) - wanted)
    assert distance.max() <= steps
    assert distance.mean() <= (share if steps == 1 else 0.6)


def test_narrow_numbers_stay_in_32_bits() -> None:
    source = around("bias", last=True)
    feeds = feeds_for(source, seed=100, batch=1)
    wide, narrow = (forms(source, narrow=narrow) for narrow in (False, True))
    assert_exact(narrow.integer, feeds)
    computed = {out.dtype for node in narrow.integer.graph for out in node.outputs}
    assert ir.DataType.INT64 not in computed
    found, wanted = (codes_of(made.integer, ["y"], feeds)["y_quantized"] for made in (narrow, wide))
    assert_close(found, wanted, steps=1)


ROWS = {
    "softmax": "y = Softmax(x)",
    "softmax of another axis": "y = Softmax<axis=1>(x)",
    "layer norm": "y = LayerNormalization(x, g, b)",
    "layer norm without bias": "y = LayerNormalization<epsilon=0.01>(x, g)",
    "product of values": "y = MatMul(x, v)",
    "biased product": "p = MatMul(x, w) y = Add(p, b)",
    "bias first": "p = MatMul(x, w) y = Add(b, p)",
    "biased product, cut": "p = MatMul(x, w) a = Add(p, b) y = Relu(a)",
    "gather": "y = Gather<axis=1>(x, places)",
}


@pytest.mark.parametrize("case", ROWS)
def test_what_transformers_are_made_of(case: str) -> None:
    source = build(
        f"""f (float[2,12,12] x, float[2,12,12] v, float[12,12] w, float[12] b, float[12] g,
            int64[3] places) => (float[c,d,e] o) {{ {ROWS[case]} o = MatMul(y, w) }}""",
        w=rng_weight(12, 12),
        b=rng_weight(12),
        g=rng_weight(12, seed=1),
        places=np.array([0, 5, -1]),
    )
    made = forms(source)
    assert not made.plan.float_nodes
    feeds = feeds_for(source, seed=100)
    feeds["x"][:, 0] = 0.3  # rows of equal numbers have no variance
    assert_exact(made.integer, feeds)
    found, wanted = (codes_of(m, ["y"], feeds)["y_quantized"] for m in (made.integer, made.qdq))
    assert_close(found, wanted, steps=1)


PRODUCTS = {
    "gemm": "y = Gemm<transB=1>(x, w, b)",
    "gemm plain": "y = Gemm(x, w)",
    "matmul": "y = MatMul(x, w)",
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_products_of_rows(case: str) -> None:
    source = build(
        f"""f (float[3,8] x, float[8,8] w, float[8,8] v, float[8] b) => (float[3,8] o)
            {{ {PRODUCTS[case]} o = MatMul(y, v) }}""",
        w=rng_weight(8, 8),
        v=rng_weight(8, 8, seed=1),
        b=rng_weight(8),
    )
    made = forms(source)
    feeds = feeds_for(source, seed=7)
    found = assert_exact(made.integer, feeds)["o"]
    codes, wanted = (codes_of(m, ["y"], feeds)["y_quantized"] for m in (made.integer, made.qdq))
    assert_close(codes, wanted, steps=1)
    assert np.abs(found - run(made.qdq, feeds)["o"]).max() < 0.02 * np.abs(found).max()


def test_what_no_integer_node_reads_leaves_as_accumulators() -> None:
    """Exactly what float arithmetic makes of the same codes: nothing is rounded to 8 bits."""
    source = build(
        "f (float[1,8,6,5] x, float[9,8,3,3] w, float[9] b) => (float[1,9,4,3] y)"
        " { y = Conv(x, w, b) }",
        w=rng_weight(9, 8, 3, 3),
        b=rng_weight(9),
    )
    made = forms(source)
    feeds = feeds_for(source, seed=3)
    found, wanted = assert_exact(made.integer, feeds)["y"], run(made.qdq, feeds)["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    leaving = next(node for node in made.integer.graph if node.op_type == "DequantizeLinear")
    assert leaving.inputs[0] is not None
    assert leaving.inputs[0].dtype == ir.DataType.INT32


def test_one_channel_leaves_before_it_is_moved() -> None:
    source = build(
        "f (float[1,8,6,5] x, float[1,8,1,1] w, int64[2] shape) => (float[a,b] y)"
        " { c = Conv(x, w) y = Reshape(c, shape) }",
        w=rng_weight(1, 8, 1, 1),
        shape=np.array([0, -1]),
    )
    made = forms(source)
    feeds = feeds_for(source, batch=1)
    np.testing.assert_array_equal(
        run(made.integer, feeds)["y"], run(made.integer, feeds, "all")["y"]
    )


def test_channels_of_own_scales_between_convolutions() -> None:
    """Written with a scale each, read with the common one that the weights behind are made for."""
    wide = np.linspace(0.1, 30, 8, dtype=np.float32).reshape(8, 1, 1, 1)
    source = build(
        "f (float[1,8,6,5] x, float[8,8,1,1] w, float[8,1,3,3] d, float[8,8,1,1] v) =>"
        " (float[1,8,4,3] o) { c = Conv(x, w) r = Relu(c) e = Conv<group=8>(r, d) o = Conv(e, v) }",
        w=rng_weight(8, 8, 1, 1) * wide,
        d=rng_weight(8, 1, 3, 3),
        v=rng_weight(8, 8, 1, 1),
    )
    made = forms(source)
    assert made.plan.values["r"].spec.axis == 1
    feeds = feeds_for(source, seed=5, batch=1)
    assert_exact(made.integer, feeds)
    found, wanted = (codes_of(m, ["r", "e"], feeds) for m in (made.integer, made.qdq))
    assert_close(found["r_quantized"], wanted["r_quantized"], steps=1)
    assert_close(found["e_quantized"], wanted["e_quantized"], steps=2)


def test_pairs_that_could_saturate_get_unsigned_weights() -> None:
    source = build(
        "f (float[1,8,6,5] x, float[8,8,1,1] w) => (float[1,8,6,5] y) { y = Conv(x, w) }",
        w=np.ones((8, 8, 1, 1)),
    )
    context = context_for(source, load_target("integer"))
    plan = plan_for(context)
    weight = plan.values["w"]
    assert weight.params is not None
    codes = np.full((8, 8, 1, 1), 127, np.int32)
    scale = np.asarray(weight.params.scale * 0 + 1 / 127, np.float32)
    full = replace(weight, params=replace(weight.params, scale=scale), codes=codes)
    made = LowerToInteger(plan.with_values({"w": full}))(source).model
    product = next(node for node in made.graph if node.op_type == "MatMulInteger")
    assert product.inputs[1] is not None
    assert product.inputs[1].dtype == ir.DataType.UINT8
    assert_exact(made, feeds_for(source, batch=1))


def test_narrow_codes_and_uses_of_their_own() -> None:
    """4 bits for what is multiplied, while the sum reads 8."""
    source = build(
        "f (float[1,8,6,5] x, float[8,8,1,1] w) => (float[1,8,6,5] o)"
        " { c = Conv(x, w) a = Conv(c, w) s = Add(a, c) o = Conv(s, w) }",
        w=rng_weight(8, 8, 1, 1),
    )
    context = context_for(source, load_target("integer"))
    plan = plan_for(context)
    wide = plan.values["c"]
    assert wide.params is not None
    params = QParams(wide.params.scale * 17, np.rint(wide.params.zero_point / 17))
    narrow = ValuePlan(replace(wide.spec, dtype=IntType.parse("uint4")), params)
    plan = replace(plan, uses={Use("node_a", 0): narrow})
    made = forms(source, plan)
    feeds = feeds_for(source, seed=5, batch=1)
    assert_exact(made.integer, feeds)
    used = make_session(made.integer, optimize=False, outputs=["c_used_quantized"]).run(feeds)
    assert used["c_used_quantized"].max() == 15


def test_all_behind_what_integers_do_not_carry_stays_float() -> None:
    source = build(
        "f (float[1,8,6,5] x, float[8,8,1,1] w) => (float[1,8,6,5] o, float[1,8,6,5] p)"
        " { c = Conv(x, w) e = Sin(c) o = Conv(e, w) p = Conv(c, w) }",
        w=rng_weight(8, 8, 1, 1),
    )
    made = forms(source)
    assert made.plan.float_nodes["node_e"] == "integer has no integer kernel for Sin"
    assert made.plan.float_nodes["node_o"] == "behind 'node_e', which integers do not carry"
    assert "node_p" not in made.plan.float_nodes
    assert prove_integer(made.integer).violations == ()
    feeds = feeds_for(source, batch=1)
    found, wanted = run(made.integer, feeds), run(made.qdq, feeds)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, atol=0.05 * np.abs(array).max())


@pytest.mark.parametrize("line", ["e = Div(c, c)", "e = Div(one, c)", "e = PRelu(c, c)"])
def test_what_must_be_constant_is_named(line: str) -> None:
    source = build(
        "f (float[1,8,6,5] x, float[8,8,1,1] w, float one) => (float[1,8,6,5] o)"
        f" {{ c = Conv(x, w) {line} o = Conv(e, w) }}",
        w=rng_weight(8, 8, 1, 1),
        one=np.float32(1),
    )
    reason = forms(source).plan.float_nodes["node_e"]
    assert reason in ("an operand is no constant", "an operand is no float activation")


def test_float_in_front_of_the_first_quantization_is_allowed() -> None:
    source = build(
        "f (float[1,8,6,5] x, float[8,8,1,1] w) => (float[1,8,6,5] o)"
        " { e = Sin(x) o = Conv(e, w) }",
        w=rng_weight(8, 8, 1, 1),
    )
    made = forms(source)
    assert set(made.plan.float_nodes) == {"node_e"}
    assert prove_integer(made.integer).violations == ()
    feeds = feeds_for(source, batch=1)
    np.testing.assert_allclose(
        run(made.integer, feeds)["o"], run(made.qdq, feeds)["o"], rtol=1e-4, atol=1e-4
    )


def test_dynamic_batch() -> None:
    source = build(
        "f (float[n,8,6,5] x, float[8,8,3,3] w, float[8,1,3,3] d) => (float[n,8,1,1] o)"
        " { c = Conv<pads=[1,1,1,1]>(x, w) e = Conv<group=8>(c, d)"
        "   g = GlobalAveragePool(e) o = Conv(g, v) }".replace("Conv(g, v)", "Relu(g)"),
        w=rng_weight(8, 8, 3, 3),
        d=rng_weight(8, 1, 3, 3),
    )
    made = forms(source)
    one, two = feeds_for(source, batch=1), feeds_for(source, batch=2)
    assert_exact(made.integer, one)
    whole = assert_exact(made.integer, two)["o"]
    parts = [run(made.integer, {"x": two["x"][i : i + 1]})["o"] for i in range(2)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_unknown_sizes_are_refused_by_name() -> None:
    source = build(
        "f (float[1,8,h,5] x, float[8,8,1,1] w) => (float[1,8,1,1] o)"
        " { g = GlobalAveragePool(x) o = Conv(g, w) }",
        w=rng_weight(8, 8, 1, 1),
    )
    with pytest.raises(PlanError, match=r"node 'node_g' \(GlobalAveragePool\) has no integer form"):
        forms(source)


def test_what_the_plan_leaves_out_stays_float_and_fails_the_proof() -> None:
    source = around("sigmoid", last=True)
    plan = plan_for(context_for(source, load_target("integer")))
    made = LowerToInteger(plan.without(["y"]))(source).model
    assert any(node.op_type == "Sigmoid" for node in made.graph)
    assert run(made, feeds_for(source, batch=1))["o"].shape == (1, 8, 6, 5)
    made = LowerToInteger(plan.without(["x"]))(source).model
    (island, *_) = prove_integer(made).violations
    assert "a float that was computed from integers, back to integers" in island


def test_same_bytes() -> None:
    source = around("conv", last=True)
    first, second = (to_bytes(forms(source).integer) for _ in range(2))
    assert first == second
