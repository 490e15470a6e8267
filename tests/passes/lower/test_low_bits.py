"""Weights of few bits: the file holds them packed, onnxruntime runs the kernels of 8 bits."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.graph.io import to_bytes
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.store_weights import StoreWeights
from onnxq.plan.check import violations
from onnxq.plan.spec import IntType
from onnxq.plan.weight_codes import weight_codes
from tests.passes.lower.optimized import lowered, optimized_ops
from tests.passes.plan.planning import context_for, plan_for
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from tests.support import Level

HEADERS = {21: "", 25: '<ir_version: 13, opset_import: ["": 25]>'}


def layers(call: str, shape: tuple[int, ...], x: str, y: str, opset: int = 21) -> ir.Model:
    """One layer with a bias, and a Relu behind it."""
    added = call.startswith("MatMul")
    behind = "c = Add(p, b) y = Relu(c)" if added else "y = Relu(p)"
    dims = ",".join(map(str, shape))
    channels = shape[1] if call.startswith(("Gemm(", "MatMul")) else shape[0]
    return build(
        f"""{HEADERS[opset]} f (float[{x}] x, float[{dims}] w, float[{channels}] b)
            => (float[{y}] y) {{ p = {call} {behind} }}""",
        w=rng_weight(*shape),
        b=rng_weight(channels, seed=1),
    )


LAYERS = [
    ("Conv(x, w, b)", (16, 8, 3, 3), "1,8,9,9", "1,16,M,N", "QLinearConv"),
    ("Conv<group = 8>(x, w, b)", (8, 1, 3, 3), "1,8,9,9", "1,8,M,N", "QLinearConv"),
    ("Conv<group = 2>(x, w, b)", (6, 4, 3, 3), "1,8,9,9", "1,6,M,N", "QLinearConv"),
    ("Conv(x, w, b)", (5, 7, 3), "1,7,9", "1,5,M", "QLinearConv"),
    ("Gemm(x, w, b)", (33, 15), "2,33", "2,15", "QGemm"),
    ("Gemm<transB = 1>(x, w, b)", (15, 33), "2,33", "2,15", "QGemm"),
    ("MatMul(x, w)", (33, 15), "2,33", "2,15", "QGemm"),
]
IDS = ["dense", "depthwise", "grouped", "1d", "gemm", "transposed", "matmul"]


def in_eight_bits(source: ir.Model, plan: QuantPlan) -> QuantPlan:
    """The same codes and scales, as int8."""
    wide: dict[str, ValuePlan] = {}
    for name, planned in plan.values.items():
        value = source.graph.initializers.get(name)
        if value is None or value.const_value is None:
            continue
        codes = weight_codes(value.const_value.numpy(), planned).astype(np.int32)
        spec = replace(planned.spec, dtype=IntType.parse("int8"))
        wide[name] = replace(planned, spec=spec, codes=codes)
    return plan.with_values(wide)


def large(made: ir.Model) -> dict[str, ir.DataType | None]:
    """Name → type of every constant that could be a whole weight."""
    found = {}
    for name, value in made.graph.initializers.items():
        assert value.const_value is not None
        if value.const_value.size >= 72:
            found[name] = value.dtype
    return found


@pytest.mark.parametrize(("call", "shape", "x", "y", "kernel"), LAYERS, ids=IDS)
@pytest.mark.parametrize(("bits", "opset"), [(4, 21), (3, 21), (2, 21), (2, 25), (4, 25)])
def test_layers_run_in_the_kernels_of_eight_bits(
    call: str, shape: tuple[int, ...], x: str, y: str, kernel: str, bits: int, opset: int
) -> None:
    source = layers(call, shape, x, y, opset)
    context = context_for(source)
    plan = plan_for(context, AssignIntegers(weight_bits=bits))
    assert violations(plan, source, context.target, context.shapes) == []
    made, wide = lowered(source, plan), lowered(source, in_eight_bits(source, plan))

    width = 2 if (bits, opset) == (2, 25) else 4
    stored = made.graph.initializers["w_codes"].const_value
    assert stored is not None
    assert stored.dtype == (ir.DataType.INT2 if width == 2 else ir.DataType.INT4)
    assert stored.nbytes == -(-np.prod(shape) * width // 8)
    assert large(made) == {"w_codes": stored.dtype}

    ran = optimized_ops(made)
    assert ran[kernel] == 1
    assert ran == optimized_ops(wide)
    levels: tuple[Level, ...] = ("off", "all")
    for level, seed in itertools.product(levels, range(3)):
        feeds = feeds_for(source, seed=seed)
        found, wanted = run(made, feeds, level), run(wide, feeds, level)
        np.testing.assert_array_equal(found["y"], wanted["y"])


def kept(bits: int, group: int = 1) -> tuple[ir.Model, QuantPlan]:
    """Three convolutions, the second of which stays float."""
    source = build(
        f"""f (float[1,4,9,9] x, float[16,4,3,3] u, float[16,{16 // group},3,3] v,
              float[4,16,3,3] w) => (float[1,4,3,3] y) {{
            a = Conv(x, u) b = Conv<group = {group}>(a, v) y = Conv(b, w) }}""",
        u=rng_weight(16, 4, 3, 3),
        v=rng_weight(16, 16 // group, 3, 3, seed=1),
        w=rng_weight(4, 16, 3, 3, seed=2),
    )
    context = context_for(source)
    reasons = {"node_b": "for the test"}
    plan = plan_for(context, AssignIntegers(forced_float=reasons, weight_bits=bits))
    plan = StoreWeights(least=1).revise(context, plan)
    assert violations(plan, source, context.target, context.shapes) == []
    return source, plan


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("group", [1, 2])
def test_a_float_layer_between_integer_ones_stays_float_with_integer_weights(
    bits: int, group: int
) -> None:
    source, plan = kept(bits, group)
    made = lowered(source, plan)
    packed = dict.fromkeys(("u_codes", "w_codes"), ir.DataType.INT4)
    assert large(made) == {**packed, "v_codes": ir.DataType.INT8}
    ran = optimized_ops(made)
    assert ran["QLinearConv"] == 2
    assert ran["Conv"] + ran["FusedConv"] == 1
    feeds = feeds_for(source)
    off, on = run(made, feeds, "off")["y"], run(made, feeds, "all")["y"]
    assert np.abs(off - on).max() <= 0.05 * np.abs(off).max()


def test_equal_plans_give_equal_bytes_whatever_was_lowered_before() -> None:
    source, plan = kept(4)
    first = to_bytes(lowered(source, plan))
    lowered(*kept(2))
    assert to_bytes(lowered(source, plan)) == first


def on_levels(source: ir.Model, plan: QuantPlan) -> QuantPlan:
    """The same scales, with four codes for all."""
    coded = {}
    for name, planned in plan.values.items():
        if name in source.graph.initializers:
            spec = replace(planned.spec, dtype=IntType.parse("int8"))
            levels = np.array([-5, -1, 0, 4], np.int32)
            coded[name] = replace(planned, spec=spec, levels=levels)
    return plan.with_values(coded)


@pytest.mark.parametrize(("call", "shape", "x", "y", "kernel"), LAYERS, ids=IDS)
@pytest.mark.parametrize("opset", [21, 25])
def test_levels_of_a_codebook_reach_the_kernels_of_eight_bits(
    call: str, shape: tuple[int, ...], x: str, y: str, kernel: str, opset: int
) -> None:
    source = layers(call, shape, x, y, opset)
    context = context_for(source)
    plan = on_levels(source, plan_for(context, AssignIntegers(weight_bits=4)))
    assert violations(plan, source, context.target, context.shapes) == []
    made, wide = lowered(source, plan), lowered(source, without_levels(source, plan))
    assert set(large(made).values()) == {ir.DataType.UINT2 if opset == 25 else ir.DataType.UINT4}
    assert optimized_ops(made) == optimized_ops(wide)
    assert optimized_ops(made)[kernel] == 1
    feed = feeds_for(source, 0)
    for level in ("off", "all"):
        np.testing.assert_array_equal(run(made, feed, level)["y"], run(wide, feed, level)["y"])


def without_levels(source: ir.Model, plan: QuantPlan) -> QuantPlan:
    """The same codes, stored as they are."""
    wide = in_eight_bits(source, plan)
    return wide.with_values({n: replace(wide.values[n], levels=None) for n in large(source)})


@pytest.mark.parametrize("per_channel", [True, False])
def test_float_layers_read_levels_too(per_channel: bool) -> None:
    source = layers("Conv(x, w, b)", (16, 8, 3, 3), "1,8,9,9", "1,16,M,N")
    context = context_for(source)
    plan = plan_for(context, AssignIntegers(keep_float=("node_p",)))
    plan = StoreWeights(per_channel=per_channel).revise(context, plan)
    ((use, planned),) = plan.uses.items()
    levels = np.array([-127, -60, -3, 40, 110], np.int32)
    coded = replace(plan, uses={use: replace(planned, levels=levels)})
    made = lowered(source, coded)
    assert set(large(made).values()) == {ir.DataType.UINT4}
    assert "Gather" not in optimized_ops(made)
    weight = source.graph.initializers["w"].const_value
    assert weight is not None
    codes = weight_codes(weight.numpy(), coded.uses[use]).astype(np.int32)
    plain = replace(planned, codes=codes)
    wanted = lowered(source, replace(plan, uses={use: plain}))
    feed = feeds_for(source, 0)
    for level in ("off", "all"):
        np.testing.assert_array_equal(run(made, feed, level)["y"], run(wanted, feed, level)["y"])
