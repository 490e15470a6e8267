from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.contract import structural_fault
from onnxq.errors import PlanError
from onnxq.graph.io import fingerprint, to_bytes
from onnxq.graph.spec import violations_qdq
from onnxq.passbase import PlanContext
from onnxq.passes.lower.weight_only import LowerWeightsOnly
from onnxq.passes.plan.weight_only import QuantizeWeightsOnly
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerBlock, QParams, QuantSpec
from onnxq.plan.target import load_target
from onnxq.plan.weight_codes import weight_codes
from tests.numerics.rounding import fake_quantize
from tests.passes.lower.optimized import optimized_ops
from tests.passes.plan.planning import revised
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    import numpy.typing as npt

    from tests.support import Level


def plan_of(source: ir.Model, bits: int = 8) -> QuantPlan:
    context = PlanContext(source, load_target("cpu"), None, {}, lambda _count: ())
    return revised(QuantizeWeightsOnly(bits=bits), context, QuantPlan())


def lowered(source: ir.Model, plan: QuantPlan | None = None) -> ir.Model:
    """Lowers and asserts what holds of every lowering."""
    before = fingerprint(source)
    lowering = LowerWeightsOnly(plan_of(source) if plan is None else plan)
    made = lowering(source).model
    assert fingerprint(source) == before
    assert violations_qdq(made) == []
    assert structural_fault(source, made) is None
    assert to_bytes(lowering(source).model) == to_bytes(made)
    return made


def ops(source: ir.Model) -> list[str]:
    return [node.op_type for node in source.graph]


def faked(source: ir.Model, plan: QuantPlan) -> ir.Model:
    """The float model with every planned weight quantized and dequantized."""
    copy = source.clone()
    for name, planned in plan.values.items():
        value = copy.graph.initializers[name]
        assert value.const_value is not None
        assert planned.params is not None
        granularity = planned.spec.granularity
        axis = granularity.axis if isinstance(granularity, PerAxis) else None
        weight, params = value.const_value.numpy(), planned.params
        low = -127 if planned.spec.symmetric else -128
        reals = fake_quantize(weight, params.scale, params.zero_point, (low, 127), axis)
        value.const_value = ir.tensor(reals, name=name)
    return copy


def assert_same(
    made: ir.Model, wanted: ir.Model, level: Level, tolerance: float, batch: int = 1
) -> None:
    feeds = feeds_for(wanted, batch=batch)
    expected, got = run(wanted, feeds, level), run(made, feeds, level)
    assert list(got) == list(expected)
    for name, reference in expected.items():
        bound = tolerance * float(np.abs(reference).max())
        np.testing.assert_allclose(got[name], reference, rtol=0, atol=bound, err_msg=name)


def product(
    node: str, weight: tuple[int, int], rows: str = "1", **extra: npt.ArrayLike
) -> ir.Model:
    """One matrix product of a weight w and a bias b with ``rows`` rows, its shapes inferred."""
    width = weight[1] if "transB" in node else weight[0]
    out = weight[0] if "transB" in node else weight[1]
    declared = "".join(f", float[{','.join(map(str, np.shape(v)))}] {k}" for k, v in extra.items())
    return build(
        f"""f (float[{rows},{width}] x, float[{weight[0]},{weight[1]}] w{declared})
            => (float[{rows},{out}] y) {{ {node} }}""",
        w=rng_weight(*weight),
        **extra,
    )


WIDE = (300, 256)
BIAS = rng_weight(256, seed=1)

CONVS = [
    ("Conv(x, w, b)", (16, 8, 3, 3), 8),
    ("Conv<group = 8>(x, w, b)", (16, 1, 8, 8), 8),
    ("ConvTranspose(x, w, b)", (8, 16, 3, 3), 8),
]


def conv(node: str, shape: tuple[int, ...], channels: int) -> ir.Model:
    dims = ",".join(map(str, shape))
    return build(
        f"""f (float[N,{channels},12,12] x, float[{dims}] w, float[16] b) => (float[N,16,P,Q] y) {{
            c = {node} y = Relu(c) }}""",
        w=rng_weight(*shape),
        b=rng_weight(16),
    )


@pytest.mark.parametrize(
    ("node", "shape", "channels"), CONVS, ids=["dense", "grouped", "transposed"]
)
@pytest.mark.parametrize("level", ["off", "all"])
def test_convolutions_compute_with_the_rounded_weight(
    node: str, shape: tuple[int, ...], channels: int, level: Level
) -> None:
    source = conv(node, shape, channels)
    plan = plan_of(source)
    made = lowered(source, plan)
    assert ops(made)[:2] == ["Cast", "Mul"]
    assert_same(made, faked(source, plan), level, 1e-6, batch=2)


@pytest.mark.parametrize(
    ("node", "shape", "channels"), CONVS, ids=["dense", "grouped", "transposed"]
)
def test_convolutions_run_as_they_did(node: str, shape: tuple[int, ...], channels: int) -> None:
    source = conv(node, shape, channels)
    assert optimized_ops(lowered(source)) == optimized_ops(source)


FITTING = [
    (product("y = MatMul(x, w)", WIDE), ["DequantizeLinear", "MatMul"]),
    (product("y = MatMul(x, w)", WIDE, rows="N"), ["DequantizeLinear", "MatMul"]),
    (product("y = MatMul(x, w)", WIDE, rows="1,1"), ["DequantizeLinear", "MatMul"]),
    (product("y = Gemm(x, w)", WIDE), ["DequantizeLinear", "Gemm"]),
    (product("y = Gemm(x, w, b)", WIDE, b=BIAS), ["DequantizeLinear", "Gemm"]),
    (product("y = Gemm<transB = 1>(x, w, b)", (256, 300), b=BIAS), ["DequantizeLinear", "Gemm"]),
    (
        product("t = MatMul(x, w) y = Add(t, b)", WIDE, b=BIAS),
        ["DequantizeLinear", "MatMul", "Add"],
    ),
]
FITTING_IDS = ["MatMul", "batch", "rank 3", "Gemm", "bias", "transposed", "added bias"]


@pytest.mark.parametrize(("source", "wanted"), FITTING, ids=FITTING_IDS)
def test_products_of_one_row_read_integers(source: ir.Model, wanted: list[str]) -> None:
    plan = plan_of(source)
    made = lowered(source, plan)
    assert ops(made) == wanted
    assert_same(made, faked(source, plan), "off", 1e-6)
    ran = optimized_ops(made)
    assert ran["MatMulNBits"] == 1
    assert not set(ran) & {"DequantizeLinear", "Cast", "Gemm", "MatMul"}
    # MatMulNBits rounds its input to 8 bits
    assert_same(made, faked(source, plan), "all", 0.02)


BOUNDED = [
    ("t = MatMul(x, w) r = Relu(t)", ["MatMul", "Max"]),
    ("s = MatMul(x, w) t = Add(s, b) r = Relu(t)", ["MatMul", "Add", "Max"]),
    ("t = Gemm(x, w, b) r = Relu(t)", ["Gemm", "Max"]),
    ("t = Gemm(x, w, b) r = Clip(t, low, high)", ["Gemm", "Max", "Min"]),
    ("t = Gemm(x, w, b) r = Clip(t, low)", ["Gemm", "Max"]),
    ("t = Gemm(x, w, b) r = Clip(t, , high)", ["Gemm", "Min"]),
]


@pytest.mark.parametrize(("nodes", "wanted"), BOUNDED)
def test_bounds_behind_a_product_keep_its_integers(nodes: str, wanted: list[str]) -> None:
    low, high = np.array(-0.5, np.float32), np.array(1, np.float32)
    source = product(f"{nodes} y = Softplus(r)", WIDE, b=BIAS, low=low, high=high)
    plan = plan_of(source)
    made = lowered(source, plan)
    assert ops(made) == ["DequantizeLinear", *wanted, "Softplus"]
    assert_same(made, faked(source, plan), "off", 1e-5)
    ran = optimized_ops(made)
    assert ran["MatMulNBits"] == 1
    assert "DequantizeLinear" not in ran


@pytest.mark.parametrize(
    "nodes",
    [
        "t = MatMul(x, w) y = Relu(t)",
        "t = MatMul(x, w) r = Relu(t) y = Add(r, r)",
        "t = MatMul(x, w) r = Relu(t) s = Softplus(t) y = Mul(r, s)",
    ],
    ids=["output", "read twice", "beside another"],
)
def test_other_bounds_stay(nodes: str) -> None:
    source = product(nodes, WIDE)
    made = lowered(source, plan_of(source, 4))
    assert ops(made) == ["DequantizeLinear", *ops(source)]
    assert optimized_ops(made)["MatMulNBits"] == 1


OTHERS = [
    product("y = MatMul(x, w)", WIDE, rows="2"),
    product("y = MatMul(x, w)", WIDE, rows="N,M"),
    product("y = MatMul(x, w)", WIDE, rows="1,4"),
    product("y = MatMul(x, w)", (255, 256)),
    product("y = Gemm<alpha = 0.5>(x, w, b)", WIDE, b=BIAS),
    product("y = Gemm<beta = 0.5>(x, w, b)", WIDE, b=BIAS),
    product("t = Transpose(x) y = Gemm<transA = 1>(t, w, b)", WIDE, b=BIAS),
    product("y = Gemm(x, w, b)", WIDE, b=BIAS.reshape(1, -1)),
    product("y = Gemm(x, w, b)", WIDE, b=BIAS[:1]),
]
OTHER_IDS = ["rows", "unknown", "rank 3", "small", "alpha", "beta", "transA", "bias", "one bias"]


@pytest.mark.parametrize("source", OTHERS, ids=OTHER_IDS)
def test_other_products_run_as_they_did(source: ir.Model) -> None:
    plan = plan_of(source)
    made = lowered(source, plan)
    assert "DequantizeLinear" not in ops(made)
    assert optimized_ops(made) == optimized_ops(source)
    for level in ("off", "all"):
        assert_same(made, faked(source, plan), level, 1e-5)


@pytest.mark.parametrize("rows", ["1", "3"])
def test_a_weight_read_twice_is_folded_once(rows: str) -> None:
    source = product("t = MatMul(x, w) y = MatMul(t, w)", (256, 256), rows)
    made = lowered(source)
    assert Counter(ops(made)) == {"Cast": 1, "Mul": 1, "MatMul": 2}
    assert optimized_ops(made) == {"MatMul": 2}


def test_a_weight_read_along_two_axes_keeps_one_scale_vector() -> None:
    source = build(
        """f (float[1,256] x, float[256,256] w) => (float[1,256] y) {
            t = MatMul(x, w) y = Gemm<transB = 1>(t, w) }""",
        w=rng_weight(256, 256),
    )
    plan = plan_of(source)
    made = lowered(source, plan)
    assert Counter(ops(made)) == {"Cast": 1, "Mul": 1, "MatMul": 1, "Gemm": 1}
    assert_same(made, faked(source, plan), "off", 1e-6)


def test_files_shrink_to_a_quarter() -> None:
    source = build(
        """f (float[1,64,8,8] x, float[128,64,3,3] w, float[8192,1000] v) => (float[1,1000] y) {
            c = Conv<pads = [1,1,1,1]>(x, w) f = Flatten(c) y = MatMul(f, v) }""",
        w=rng_weight(128, 64, 3, 3),
        v=rng_weight(8192, 1000),
    )
    assert 0.249 < len(to_bytes(lowered(source))) / len(to_bytes(source)) < 0.252


def test_a_plan_of_nothing_changes_nothing() -> None:
    source = product("y = MatMul(x, w)", WIDE)
    assert to_bytes(lowered(source, QuantPlan())) == to_bytes(source)


def weight_plan(spec: QuantSpec, scale: npt.ArrayLike, zero_point: npt.ArrayLike) -> ValuePlan:
    return ValuePlan(spec, QParams(np.asarray(scale, np.float32), np.asarray(zero_point)))


INT8 = IntType.parse("int8")


@pytest.mark.parametrize(
    "planned",
    [
        weight_plan(QuantSpec(INT8, True), 0.03, 0),
        weight_plan(QuantSpec(INT8, False), 0.03, 5),
        weight_plan(
            QuantSpec(INT8, False, PerAxis(1)), np.full(256, 0.03), np.arange(256) % 100 - 50
        ),
    ],
    ids=["one scale", "zero point", "zero points"],
)
def test_other_granularities_and_zero_points(planned: ValuePlan) -> None:
    source = product("y = MatMul(x, w)", WIDE)
    plan = QuantPlan({"w": planned})
    assert_same(lowered(source, plan), faked(source, plan), "off", 1e-6)


def test_given_codes_are_stored() -> None:
    source = product("y = MatMul(x, w)", WIDE)
    codes = np.arange(300 * 256, dtype=np.int32).reshape(300, 256) % 200 - 100
    spec = QuantSpec(INT8, True, PerAxis(1))
    params = QParams(np.full(256, 0.01, np.float32), np.zeros(256, np.int32))
    made = lowered(source, QuantPlan({"w": ValuePlan(spec, params, codes)}))
    stored = made.graph.initializers["w_codes"].const_value
    assert stored is not None
    np.testing.assert_array_equal(stored.numpy(), codes)


def test_a_plan_for_one_use_leaves_the_others() -> None:
    source = product("t = MatMul(x, w) y = MatMul(t, w)", (256, 256))
    plan = QuantPlan(uses={Use("node_y", 1): plan_of(source).values["w"]})
    made = lowered(source, plan)
    assert ops(made) == ["MatMul", "Cast", "Mul", "MatMul"]
    assert "w" in made.graph.initializers


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
def test_bias_shifts_are_added(biased: bool) -> None:
    source = (
        product("y = Gemm(x, w, b)", WIDE, b=BIAS) if biased else product("y = Gemm(x, w)", WIDE)
    )
    plan = plan_of(source)
    shift = rng_weight(256, seed=2)
    shifted = QuantPlan(plan.values, bias_shift={"node_y": shift})
    feeds = feeds_for(source)
    plain, moved = (run(lowered(source, p), feeds)["y"] for p in (plan, shifted))
    np.testing.assert_allclose(moved - plain, shift[np.newaxis], atol=1e-5)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (QuantPlan({"x": weight_plan(QuantSpec(INT8, True), 1, 0)}), "quantizes 'x', which is no"),
        (QuantPlan({"y": weight_plan(QuantSpec(INT8, True), 1, 0)}), "quantizes 'y', which is no"),
        (
            QuantPlan(uses={Use("node_y", 0): weight_plan(QuantSpec(INT8, True), 1, 0)}),
            "quantizes 'x', which is no",
        ),
        (
            QuantPlan(
                {
                    "w": weight_plan(
                        QuantSpec(INT8, True, PerBlock(0, 32)),
                        np.ones((10, 256)),
                        np.zeros((10, 256), np.int32),
                    )
                }
            ),
            "weight 'w' by blocks of 32, which do not divide its 300",
        ),
    ],
    ids=["input", "output", "use", "blocks"],
)
def test_plans_that_this_form_cannot_carry(plan: QuantPlan, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        LowerWeightsOnly(plan).call(product("y = MatMul(x, w)", WIDE))


def reals(source: ir.Model, plan: QuantPlan) -> ir.Model:
    """The float model with what the codes of every planned weight stand for."""
    copy = source.clone()
    for name, planned in plan.values.items():
        value = copy.graph.initializers[name]
        assert value.const_value is not None
        assert planned.params is not None
        scale, blocks = planned.params.scale, planned.spec.granularity
        if isinstance(blocks, PerBlock):
            scale = np.repeat(scale, blocks.size, blocks.axis)
        elif isinstance(blocks, PerAxis):
            rank = value.const_value.numpy().ndim
            scale = scale.reshape([-1 if i == blocks.axis else 1 for i in range(rank)])
        codes = weight_codes(value.const_value.numpy(), planned)
        value.const_value = ir.tensor((codes * scale).astype(np.float32), name=name)
    return copy


EVEN = (320, 256)
FEW = [
    (product("y = MatMul(x, w)", EVEN), True),
    (product("y = Gemm(x, w, b)", EVEN, b=BIAS), True),
    (product("y = Gemm<transB = 1>(x, w, b)", (256, 320), b=BIAS), True),
    (product("y = MatMul(x, w)", WIDE), True),
    (product("y = MatMul(x, w)", EVEN, rows="3"), False),
    (product("y = Gemm<transB = 1>(x, w, b)", (256, 320), rows="3", b=BIAS), False),
    (product("y = MatMul(x, w)", (64, 64)), False),
    (conv("Conv(x, w, b)", (16, 8, 3, 3), 8), False),
    (conv("Conv<group = 8>(x, w, b)", (16, 1, 8, 8), 8), False),
    (conv("ConvTranspose(x, w, b)", (8, 16, 3, 3), 8), False),
]
FEW_IDS = ["matmul", "gemm", "transposed", "uneven", "rows", "transposed rows", "small", "conv",
           "grouped", "conv transpose"]  # fmt: skip


def packed(made: ir.Model, plan: QuantPlan) -> ir.TensorProtocol:
    """What the file has for the weight: its codes, or their places in a codebook."""
    name = "w_codes" if plan.values["w"].levels is None else "w_codes_places"
    stored = made.graph.initializers[name].const_value
    assert stored is not None
    return stored


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize(("source", "small_in_memory"), FEW, ids=FEW_IDS)
def test_weights_of_few_bits_are_packed(source: ir.Model, small_in_memory: bool, bits: int) -> None:
    plan = plan_of(source, bits)
    made = lowered(source, plan)
    before = source.graph.initializers["w"].const_value
    stored = packed(made, plan)
    assert before is not None
    assert stored.dtype == (
        ir.DataType.INT4 if plan.values["w"].levels is None else ir.DataType.UINT4
    )
    assert stored.nbytes * 8 == before.nbytes
    assert "w" not in made.graph.initializers
    assert_same(made, reals(source, plan), "off", 1e-5)
    ran = optimized_ops(made)
    if small_in_memory:
        assert ran["MatMulNBits"] == 1
        assert not set(ran) & {"DequantizeLinear", "Cast", "Gemm", "MatMul"}
    else:
        assert ran == optimized_ops(source)
    # MatMulNBits rounds its input to 8 bits
    assert_same(made, reals(source, plan), "all", 0.02 if small_in_memory else 1e-5)


@pytest.mark.parametrize("source", [source for source, _ in FEW], ids=FEW_IDS)
def test_two_bits_are_packed_where_the_opset_can(source: ir.Model) -> None:
    newer = source.clone()
    newer.graph.opset_imports[""], newer.ir_version = 25, 13
    plan = plan_of(newer, 2)
    made = lowered(newer, plan)
    stored = packed(made, plan)
    assert stored.dtype == (
        ir.DataType.INT2 if plan.values["w"].levels is None else ir.DataType.UINT2
    )
    assert_same(made, reals(newer, plan), "off", 1e-5)
    assert_same(made, reals(newer, plan), "all", 0.02)
