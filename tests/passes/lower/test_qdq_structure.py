"""The QDQ model itself: types, names, copies; where a hand-made plan says more than a real one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.graph.io import to_bytes
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, QParams, QuantSpec
from onnxq.plan.weight_codes import weight_codes
from tests.numerics.rounding import fake_quantize
from tests.passes.lower.optimized import between_convs, lowered, optimized_ops, quantized
from tests.passes.plan.planning import context_for, plan_for
from tests.passes.rewrite.building import build, rng_weight
from tests.plan.checking import with_use
from tests.support import Level, feeds_for, run

U8, S8 = IntType.parse("uint8"), IntType.parse("int8")


def activation(scale: float, zero_point: int, dtype: IntType = U8) -> ValuePlan:
    params = QParams(np.asarray(scale, np.float32), np.asarray(zero_point))
    return ValuePlan(QuantSpec(dtype, symmetric=False), params)


def of_type(model: ir.Model, op_type: str) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == op_type]


def constant(value: ir.Value | None) -> np.ndarray:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def producer(value: ir.Value | None) -> ir.Node:
    assert value is not None
    node = value.producer()
    assert node is not None
    return node


def test_activations_are_uint8_and_weights_symmetric_int8_per_output_channel() -> None:
    made = quantized(between_convs("r = Relu(c)")).model
    assert {node.outputs[0].dtype for node in of_type(made, "QuantizeLinear")} == {
        ir.DataType.UINT8
    }
    for conv in of_type(made, "Conv"):
        weight = producer(conv.inputs[1])
        assert weight.op_type == "DequantizeLinear"
        assert weight.attributes["axis"].value == 0
        assert constant(weight.inputs[0]).dtype == np.int8
        assert constant(weight.inputs[1]).shape == (conv.outputs[0].shape[1],)  # type: ignore[index]
        if len(weight.inputs) > 2:
            assert not constant(weight.inputs[2]).any()


@pytest.mark.parametrize("per_channel", [True, False], ids=["channel", "tensor"])
def test_the_bias_has_exactly_the_scale_of_the_products(per_channel: bool) -> None:
    made = quantized(between_convs("r = Relu(c)"), AssignIntegers(per_channel=per_channel)).model
    for conv in of_type(made, "Conv")[:1]:
        x, w, b = (producer(value) for value in conv.inputs)
        assert constant(b.inputs[0]).dtype == np.int32
        wanted = constant(x.inputs[1]) * constant(w.inputs[1])
        np.testing.assert_array_equal(constant(b.inputs[1]), wanted)
        assert constant(b.inputs[1]).dtype == np.float32


def test_the_bias_shift_is_added_before_rounding() -> None:
    source = between_convs("r = Relu(c)")
    plan = plan_for(context_for(source), AssignIntegers(per_channel=False))
    shift = np.linspace(-1, 1, 6, dtype=np.float32)
    shifted = replace(plan, bias_shift={"node_c": shift})
    before, after = (of_type(lowered(source, p), "Conv")[0] for p in (plan, shifted))
    codes = [constant(producer(conv.inputs[2]).inputs[0]) for conv in (before, after)]
    scale = constant(producer(before.inputs[2]).inputs[1])
    assert np.abs((codes[1] - codes[0].astype(np.int64)) * scale - shift).max() <= scale.max()


def test_a_shift_makes_a_bias_where_there_is_none() -> None:
    source = build(
        "f (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,6,6] y) { y = Conv(x, w) }",
        w=rng_weight(6, 4, 3, 3),
    )
    context = context_for(source)
    plan = plan_for(context, AssignIntegers(per_channel=False))
    shift = np.linspace(0.5, 1, 6, dtype=np.float32)
    feed = next(iter(context.samples(1)))
    plain = run(lowered(source, plan), feed)["y"]
    moved = run(lowered(source, replace(plan, bias_shift={"node_y": shift})), feed)["y"]
    step = float(plan.values["y"].params.scale)  # type: ignore[union-attr]
    # Where the shift pushes beyond the greatest code, it clips.
    inside = moved < moved.max()
    error = np.abs(moved - plain - shift.reshape(-1, 1, 1))[inside]
    assert error.max() <= 1.001 * step


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize("level", ["off", "all"])
def test_a_float_layer_between_codes_takes_its_shift(bias: str, level: Level) -> None:
    """Whatever reads it: codes of the next layer, or nobody else."""
    source = build(
        f"""f (float[1,4,8,8] x, float[6,4,3,3] w, float[6,6,1,1] v, float[6] b)
        => (float[1,6,6,6] y) {{ c = Conv(x, w{bias}) y = Conv(c, v) }}""",
        w=rng_weight(6, 4, 3, 3),
        v=np.eye(6, dtype=np.float32).reshape(6, 6, 1, 1),
        b=rng_weight(6),
    )
    context = context_for(source)
    plan = plan_for(context, AssignIntegers(keep_float=("node_c",), per_channel=False))
    shift = np.linspace(-0.5, 0.5, 6, dtype=np.float32)
    feed = next(iter(context.samples(1)))
    plain = run(lowered(source, plan), feed, level)["y"]
    moved = run(lowered(source, replace(plan, bias_shift={"node_c": shift})), feed, level)["y"]
    inside = (moved > moved.min()) & (moved < moved.max())
    error = np.abs(moved - plain - shift.reshape(-1, 1, 1))[inside]
    step = max(float(plan.values[name].params.scale) for name in "cy")  # type: ignore[union-attr]
    assert error.max() <= 2.001 * step


def test_one_quantization_serves_all_readers() -> None:
    source = between_convs("g = Sigmoid(c) r = Mul(c, g)")
    made = quantized(source, layers=4).model
    quantizers = of_type(made, "QuantizeLinear")
    assert len(quantizers) == len({id(node.inputs[0]) for node in quantizers}) == 5


def test_outputs_keep_their_names_and_order_where_they_are_quantized() -> None:
    source = between_convs("r = Relu(c)")
    source.graph.outputs.append(source.graph.node("node_r").outputs[0])
    made = quantized(source)
    assert [value.name for value in made.model.graph.outputs] == ["y", "r"]
    assert made.ops["QLinearConv"] == 2
    for value in made.model.graph.outputs:
        assert producer(value).op_type == "DequantizeLinear"


def test_what_is_read_inside_is_what_the_output_shows() -> None:
    source = between_convs("r = Relu(c)")
    source.graph.outputs.append(source.graph.node("node_r").outputs[0])
    made = quantized(source).model
    assert of_type(made, "Conv")[1].inputs[0] is made.graph.outputs[1]


@pytest.mark.parametrize(("opset", "ir_version"), [(21, 10), (22, 10), (23, 11)])
def test_opset_and_ir_version_stay(opset: int, ir_version: int) -> None:
    source = build(
        f"""<ir_version: {ir_version}, opset_import: ["": {opset}]>
        f (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,6,6] y) {{ y = Conv(x, w) }}""",
        w=rng_weight(6, 4, 3, 3),
    )
    made = quantized(source)
    assert made.model.ir_version == ir_version
    assert made.model.graph.opset_imports[""] == opset
    assert made.ops["QLinearConv"] == 1


def test_a_weight_with_one_quantization_is_stored_once() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,4,8,8] y) {
            c = Conv(x, w)
            y = Conv(c, w) }""",
        w=rng_weight(4, 4, 1, 1),
    )
    made = quantized(source, AssignIntegers(per_channel=False)).model
    assert [c.dtype for c in _weights(made)].count(np.dtype(np.int8)) == 1
    a, b = of_type(made, "Conv")
    assert a.inputs[1] is b.inputs[1]


def test_uses_of_a_weight_that_are_quantized_differently_have_own_copies() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,4,8,8] y, float[1,4,8,8] z) {
            y = Conv(x, w)
            z = Conv(x, w) }""",
        w=rng_weight(4, 4, 1, 1),
    )
    context = context_for(source)
    plan = plan_for(context, AssignIntegers(per_channel=False))
    params = plan.values["w"].params
    assert params is not None
    coarse = replace(plan.values["w"], params=QParams(params.scale * 9, params.zero_point))
    made = lowered(source, with_use(plan, "node_z", 1, coarse))
    assert [c.dtype for c in _weights(made)].count(np.dtype(np.int8)) == 2
    feed = next(iter(context.samples(1)))
    results = run(made, feed, "all")
    exact = run(lowered(source, plan), feed, "all")
    np.testing.assert_array_equal(results["y"], exact["y"])
    assert (results["z"] != exact["z"]).any()


def test_a_use_may_read_other_codes_than_the_rest() -> None:
    source = build(
        """f (float[1,3] x) => (float[1,3] y, float[1,3] z) {
            y = Neg(x)
            z = Neg(x) }"""
    )
    fine, coarse = activation(0.1, 100), activation(1.0, 100)
    made = lowered(source, QuantPlan({"x": fine}, {Use("node_z", 0): coarse}))
    feed = {"x": np.array([[0.32, -1.6, 2.4]], np.float32)}
    found = run(made, feed)
    for name, plan in (("y", fine), ("z", coarse)):
        assert plan.params is not None
        reals = fake_quantize(feed["x"], plan.params.scale, plan.params.zero_point, (0, 255))
        np.testing.assert_array_equal(found[name], -reals)


def test_a_kept_node_reads_its_float_weight_though_an_integer_node_shares_it() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[4,4,1,1] w, float[4] b) => (float[1,4,8,8] y) {
            c = Conv(x, w, b)
            d = Conv(c, w, b)
            y = Conv(d, w, b) }""",
        w=rng_weight(4, 4, 1, 1),
        b=rng_weight(4),
    )
    ops = quantized(source, AssignIntegers(keep_float=("node_d",))).ops
    assert ops["QLinearConv"] == 2
    assert ops["Conv"] == 1


def test_an_empty_plan_changes_nothing() -> None:
    source = between_convs("r = Relu(c)")
    assert to_bytes(lowered(source, QuantPlan())) == to_bytes(source)


def test_one_lowering_object_lowers_many_times() -> None:
    source = between_convs("r = Relu(c)")
    lowering = LowerToQdq(plan_for(context_for(source)))
    first = to_bytes(lowering(source).model)
    assert to_bytes(lowering(source).model) == first


def test_names_of_the_float_model_are_not_taken_twice() -> None:
    source = build(
        """f (float[1,3] x) => (float[1,3] x_quantized) {
            x_dequantized = Neg(x)
            x_quantized = Neg(x_dequantized) }"""
    )
    made = lowered(source, QuantPlan({"x": activation(0.1, 3), "x_quantized": activation(0.1, 3)}))
    assert [value.name for value in made.graph.outputs] == ["x_quantized"]


def test_chosen_codes_are_stored_as_they_are() -> None:
    codes = np.array([[5, -7], [0, 127]], np.int32)
    plan = ValuePlan(
        QuantSpec(S8, symmetric=True, granularity=PerAxis(0)),
        QParams(np.ones(2, np.float32), np.zeros(2, np.int32)),
        codes,
    )
    stored = weight_codes(np.zeros((2, 2), np.float32), plan)
    assert stored.dtype == np.int8
    np.testing.assert_array_equal(stored, codes)


def test_symmetric_codes_leave_out_the_least() -> None:
    params = QParams(np.asarray(1.0), np.asarray(0))
    plan = ValuePlan(QuantSpec(S8, symmetric=True), params)
    assert weight_codes(np.array([[-500.0, 500.0]], np.float32), plan).tolist() == [[-127, 127]]


@pytest.mark.parametrize(("steps", "zero_point"), [(3, 3), (20, 40), (100, 110), (127, 127)])
@pytest.mark.parametrize("level", ["off", "all"])
def test_hard_swish_on_codes_is_exact(steps: int, zero_point: int, level: str) -> None:
    source = build("f (float[1,256] x) => (float[1,256] y) { y = HardSwish(x) }")
    x = activation(3 / steps, zero_point)
    assert x.params is not None
    reals = ((np.arange(256) - zero_point) * x.params.scale).astype(np.float32)[None]
    wanted = run(source, {"x": reals})["y"]
    y = activation(float(wanted.max() - wanted.min()) / 255, 3)
    assert y.params is not None
    made = lowered(source, QuantPlan({"x": x, "y": y}))
    assert optimized_ops(made)["QLinearMul"] == 1
    assert optimized_ops(made)["Clip"] == 1
    found = run(made, {"x": reals}, level)["y"]  # type: ignore[arg-type]
    exact = fake_quantize(wanted, y.params.scale, y.params.zero_point, (0, 255))
    np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("per_channel", [True, False], ids=["channel", "tensor"])
def test_a_float_hard_swish_behind_codes_may_be_an_output(per_channel: bool) -> None:
    source = build(
        """f (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,6,6] y) {
            c = Conv(x, w)
            y = HardSwish(c) }""",
        w=rng_weight(6, 4, 3, 3),
    )
    made = quantized(source, AssignIntegers(per_channel=per_channel))
    assert made.ops["QLinearConv"] == 1


def test_a_matrix_added_by_gemm_keeps_its_meaning() -> None:
    source = build(
        """f (float[3,8] x, float[6,8] w, float[3,6] b) => (float[3,6] y) {
            y = Gemm<transB = 1>(x, w, b) }""",
        w=rng_weight(6, 8),
        b=rng_weight(3, 6),
    )
    quantized(source)


@pytest.mark.parametrize("bias", ["float[1,1,6] b", "float[1,6] b", "float[5,6] b"])
def test_what_is_added_to_matmul_keeps_the_shape(bias: str) -> None:
    shape = tuple(int(n) for n in bias[6 : bias.index("]")].split(","))
    out = "1,5,6" if len(shape) == 3 else "5,6"
    source = build(
        f"""f (float[5,8] x, float[8,6] w, {bias}) => (float[{out}] y) {{
            m = MatMul(x, w)
            y = Add(m, b) }}""",
        w=rng_weight(8, 6),
        b=rng_weight(*shape),
    )
    quantized(source)


def test_a_model_runs_the_same_whatever_seed_its_data_has() -> None:
    source = between_convs("r = Relu(c)")
    made = quantized(source).model
    for seed in range(20, 24):
        feed = feeds_for(source, seed)
        plain, fused = run(made, feed, "off")["y"], run(made, feed, "all")["y"]
        step = float(np.max(constant(producer(made.graph.outputs[0]).inputs[1])))
        assert np.abs(plain - fused).max() <= 2.001 * step


def _weights(model: ir.Model) -> list[np.ndarray]:
    return [constant(value) for value in model.graph.initializers.values() if value.shape != ()]
