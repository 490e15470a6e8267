"""Weights of few bits are rounded by what comes out of their layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.passes.plan.round_weights import RoundWeights
from onnxq.plan.check import check_plan
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.plan.spec import IntType
from onnxq.plan.stored_weight import stored_weight
from onnxq.plan.target import load_target
from onnxq.plan.weight_codes import code_limits
from onnxq.runtime.compare import Reference
from onnxq.runtime.session import make_session
from onnxq.search.layer_moments import layer_moments
from tests.passes.plan.planning import build, context_for, plan_for, revised
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.passbase import PlanContext

_TEXT = """f (float[1,4,8,8] x, float[8,4,3,3] w, float[8] b, float[8,1,3,3] d, float[6,8,1,1] v,
    float[3,6] g) => (float[1,3] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu(c)
    e = Conv <group = 8, strides = [2, 2]> (r, d)
    h = Conv(e, v)
    s = Relu(h)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm<transB = 1>(f, g) }"""
_LAYERS = {"node_c", "node_e", "node_h", "node_y"}


def source() -> ir.Model:
    return build(
        _TEXT, w=rng_weight(8, 4, 3, 3), b=rng_weight(8), d=rng_weight(8, 1, 3, 3, seed=1),
        v=rng_weight(6, 8, 1, 1, seed=2), g=rng_weight(3, 6, seed=3),
    )  # fmt: skip


def feeds(
    start: int, count: int, shape: tuple[int, ...] = (1, 4, 8, 8)
) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Samples whose channels hang together, as those of real layers do."""
    mix = np.random.default_rng(9).normal(size=(shape[1], shape[1])) + 1
    found = []
    for seed in range(start, start + count):
        x = np.random.default_rng(seed).normal(size=shape) + 0.5
        found.append({"x": np.einsum("ij,bj...->bi...", mix, x).astype(np.float32)})
    return found


def context_of(model: ir.Model, shape: tuple[int, ...] = (1, 4, 8, 8)) -> PlanContext:
    return context_for(model, samples=feeds(0, 64, shape))


def planned(context: PlanContext, bits: int = 4, *, per_channel: bool = True) -> QuantPlan:
    return plan_for(context, AssignIntegers(weight_bits=bits, per_channel=per_channel))


def lower(model: ir.Model, plan: QuantPlan) -> ir.Model:
    return LowerToQdq(plan)(model).model


def sqnr(context: PlanContext, plan: QuantPlan, shape: tuple[int, ...] = (1, 4, 8, 8)) -> float:
    """Of the output, on samples that were not calibrated on."""
    reference = Reference(context.model, feeds(1000, 16, shape))
    return min(reference.sqnr(lower(context.model, plan)).values())


@pytest.mark.parametrize(("bits", "gain"), [(4, 1.5), (3, 4.0), (2, 3.0)])
def test_the_output_comes_closer_to_float(bits: int, gain: float) -> None:
    context = context_of(source())
    plan = planned(context, bits)
    better = revised(RoundWeights(lower), context, plan)
    assert sqnr(context, better) > sqnr(context, plan) + gain


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions_are_rounded_too(group: int) -> None:
    model = build(
        f"""f (float[1,4,8,8] x, float[8,4,3,3] w, float[8,{6 // group},4,4] t, float[6] b)
        => (float[1,6,16,16] y) {{
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        r = Relu(c)
        y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], group = {group}> (r, t, b) }}""",
        w=rng_weight(8, 4, 3, 3), t=rng_weight(8, 6 // group, 4, 4, seed=1), b=rng_weight(6),
    )  # fmt: skip
    context = context_for(model, load_target("qnn"), feeds(0, 64))
    plan = planned(context)
    better = revised(RoundWeights(lower), context, plan)
    check_plan(better, model, context.target, context.shapes)
    assert better.bias_shift["node_y"].shape == (6,)
    codes = better.values["t"].codes
    assert codes is not None
    assert codes.shape == (8, 6 // group, 4, 4)
    assert sqnr(context, better) > sqnr(context, plan) + 2


def test_descent_adds_to_gptq() -> None:
    context = context_of(source())
    plan = planned(context, 3)
    plain, descended = (
        revised(RoundWeights(lower, method), context, plan) for method in ("gptq", "gptq+cd")
    )
    assert sqnr(context, descended) > sqnr(context, plain)


def test_adaround_comes_closer_than_the_nearest_codes() -> None:
    context = context_of(source())
    plan = planned(context, 3)
    better = revised(RoundWeights(lower, "adaround"), context, plan)
    assert sqnr(context, better) > sqnr(context, plan) + 3


def test_one_scale_for_a_weight_stays_one() -> None:
    context = context_of(source())
    plan = planned(context, 3, per_channel=False)
    better = revised(RoundWeights(lower), context, plan)
    for name in "wdvg":
        params = better.values[name].params
        assert params is not None
        assert params.scale.shape == ()
    assert sqnr(context, better) > sqnr(context, plan) + 4


def test_every_layer_gets_codes_in_range_and_a_bias_shift() -> None:
    context = context_of(source())
    better = revised(RoundWeights(lower), context, planned(context))
    for name in "wdvg":
        codes = better.values[name].codes
        assert codes is not None
        low, high = code_limits(better.values[name].spec)
        assert low <= codes.min() < codes.max() <= high
        assert codes.shape == context.model.graph.initializers[name].const_value.shape.numpy()  # type: ignore[union-attr]
    assert set(better.bias_shift) == _LAYERS
    fired = {note.where for note in better.notes if note.kind is NoteKind.FIRED}
    assert fired >= _LAYERS


def test_rule_1_eight_bits_are_rounded_behind_activations_of_few() -> None:
    context = context_of(source())
    wide = plan_for(context, AssignIntegers())
    assert revised(RoundWeights(lower), context, wide) is wide
    plan = revised(NarrowActivations(4), context, revised(AssignIntegers(), context, QuantPlan()))
    plan = revised(FitWeights(), context, revised(FitActivations(), context, plan))
    better = revised(RoundWeights(lower), context, plan)
    assert set(better.bias_shift) == _LAYERS - {"node_c"}
    assert sqnr(context, better) > sqnr(context, plan)


@pytest.mark.parametrize("narrow", [True, False])
def test_rule_5_outputs_are_looked_at_behind_activations_of_few_bits(
    narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []

    def moments(*given: Any, outputs: bool) -> Any:  # noqa: ANN401 (passed on)
        looked_at.append(outputs)
        return layer_moments(*given, outputs=outputs)

    monkeypatch.setattr("onnxq.passes.plan.round_weights.layer_moments", moments)
    context = context_of(source())
    plan = revised(AssignIntegers(weight_bits=4), context, QuantPlan())
    if narrow:
        plan = revised(NarrowActivations(4), context, plan)
    plan = revised(FitWeights(), context, revised(FitActivations(), context, plan))
    revised(RoundWeights(lower), context, plan)

    assert set(looked_at) == {narrow}


def test_the_written_model_computes_what_the_passes_saw() -> None:
    context = context_of(source())
    better = revised(RoundWeights(lower), context, planned(context))
    model = lower(context.model, better)
    plain, optimized = (make_session(model, optimize=on) for on in (False, True))
    steps = []
    for feed in feeds(1000, 8):
        first, second = plain.run(feed)["y"], optimized.run(feed)["y"]
        steps.append(np.abs(first - second).max() / np.abs(first).max())
    assert max(steps) < 0.05


def test_values_with_a_scale_per_channel_are_read_in_their_own_units() -> None:
    model = source()
    weight = rng_weight(8, 4, 3, 3)
    weight *= np.geomspace(0.02, 4, 8).reshape(8, 1, 1, 1).astype(np.float32)
    model.graph.initializers["w"].const_value = ir.tensor(weight)
    context = context_of(model)
    plan = plan_for(context, AssignIntegers(weight_bits=4), method="mse")
    better = revised(RoundWeights(lower), context, plan)
    assert sqnr(context, better) > sqnr(context, plan) + 3


def test_a_matrix_product_without_bias_is_rounded_around_zero() -> None:
    shape = (1, 4, 16)
    text = """f (float[1,4,16] x, float[16,12] w, float[12,5] v) => (float[1,4,5] y) {
        m = MatMul(x, w)
        r = Relu(m)
        y = MatMul(r, v) }"""
    model = build(text, w=rng_weight(16, 12), v=rng_weight(12, 5, seed=1))
    context = context_of(model, shape)
    plan = planned(context, 3)
    better = revised(RoundWeights(lower), context, plan)
    assert not better.bias_shift
    assert sqnr(context, better, shape) > sqnr(context, plan, shape) + 1


def widened(plan: QuantPlan, *names: str) -> QuantPlan:
    """The plan with these weights in 8 bits."""
    dtype = IntType(8, signed=True)
    wide = {
        name: replace(plan.values[name], spec=replace(plan.values[name].spec, dtype=dtype))
        for name in names
    }
    return plan.with_values(wide)


def test_eight_bits_behind_fewer_make_up_for_their_errors() -> None:
    context = context_of(source())
    plan = revised(FitWeights(), context, widened(planned(context, 3), "v", "g"))
    narrow = revised(RoundWeights(lower), context, planned(context, 3))
    mixed = revised(RoundWeights(lower), context, plan)
    fired = {note.where for note in mixed.notes if note.source == RoundWeights.name}
    assert fired == _LAYERS
    assert sqnr(context, mixed) > sqnr(context, narrow)
    for name, node in (("v", "node_h"), ("g", "node_y")):
        codes = mixed.values[name].codes
        assert codes is not None
        assert 8 < np.abs(codes).max() <= 64, "pairs of codes must not saturate"
        assert node in mixed.bias_shift


def test_eight_bits_in_float_are_rounded_wherever_they_are() -> None:
    context = context_of(source())
    plan = plan_for(context, AssignIntegers(keep_float=(*_REAL, "node_y")))
    plan = replace(plan, uses=stored(context, 8).uses)
    better = revised(RoundWeights(lower), context, plan)
    assert {use.node for use, planned in better.uses.items() if planned.codes is not None} == {
        *_REAL
    }
    assert set(better.bias_shift) == {*_REAL}
    assert sqnr(context, better) > sqnr(context, plan) + 1


def test_eight_bits_in_front_of_fewer_stay_as_they_are() -> None:
    context = context_of(source())
    plan = revised(FitWeights(), context, widened(planned(context, 3), "w"))
    mixed = revised(RoundWeights(lower), context, plan)
    assert mixed.values["w"] is plan.values["w"]
    assert mixed.values["d"] is not plan.values["d"]


def test_eight_bits_stay_as_they_are() -> None:
    context = context_of(source())
    plan = planned(context, 8)
    assert revised(RoundWeights(lower), context, plan) is plan


def test_rounding_to_the_nearest_leaves_the_plan() -> None:
    context = context_of(source())
    plan = planned(context)
    assert revised(RoundWeights(lower, "nearest"), context, plan) is plan


def test_a_weight_of_two_layers_stays() -> None:
    text = """f (float[1,4,8,8] x, float[4,4,3,3] w) => (float[1,4,4,4] y) {
        c = Conv(x, w)
        y = Conv(c, w) }"""
    context = context_of(build(text, w=rng_weight(4, 4, 3, 3)))
    plan = planned(context)
    better = revised(RoundWeights(lower), context, plan)
    assert better.values["w"] is plan.values["w"]
    assert {note.text for note in better.notes if note.kind is NoteKind.REFUSED} == {
        "another layer reads its weight"
    }


def test_codes_are_from_codebooks_where_that_is_worth_it() -> None:
    context = context_of(source())
    plan = planned(context, 3)
    even = revised(RoundWeights(lower, codebook=False), context, plan)
    coded = revised(RoundWeights(lower), context, plan)
    check_plan(coded, context.model, context.target, context.shapes)
    assert all(even.values[name].levels is None for name in "wdvg")
    with_levels = [name for name in "wdvg" if coded.values[name].levels is not None]
    assert with_levels
    for name in with_levels:
        value = coded.values[name]
        assert value.bits == 3
        assert value.spec.dtype == context.target.weight
        assert value.levels is not None
        assert np.abs(value.levels).max() == 64, "pairs of codes must not saturate"
    assert sqnr(context, coded) > sqnr(context, even)
    texts = [note.text for note in coded.notes if note.source == RoundWeights.name]
    assert sum("codebook of 8 levels" in text for text in texts) == len(with_levels)


def test_adaround_has_no_codebook() -> None:
    context = context_of(source())
    found = revised(RoundWeights(lower, "adaround"), context, planned(context, 3))
    assert all(found.values[name].levels is None for name in "wdvg")


def test_other_runtimes_get_codes_in_even_steps() -> None:
    context = context_for(source(), load_target("qnn"), feeds(0, 64))
    found = revised(RoundWeights(lower), context, planned(context))
    assert all(found.values[name].levels is None for name in "wdvg")


def test_layers_in_float_stay() -> None:
    context = context_of(source())
    plan = plan_for(context, AssignIntegers(weight_bits=4, keep_float=("node_h",)))
    better = revised(RoundWeights(lower), context, plan)
    assert "node_h" not in better.bias_shift
    assert "node_y" in better.bias_shift


_REAL = ("node_c", "node_e", "node_h")


def stored(context: PlanContext, bits: int, names: tuple[str, ...] = _REAL) -> QuantPlan:
    """Some layers compute in float, with weights stored in so many bits."""
    plan = plan_for(context, AssignIntegers(weight_bits=4, keep_float=names))
    dtype = IntType(bits, signed=True)
    nodes = [node for node in context.model.graph if str(node.name) in names]
    uses = {Use(str(node.name), 1): stored_weight(node, dtype) for node in nodes}
    return replace(plan, uses=uses)


@pytest.mark.parametrize(("bits", "gain"), [(4, 1.5), (3, 3.0), (2, 3.0)])
@pytest.mark.parametrize("codebook", [True, False])
def test_stored_weights_of_layers_in_float_are_rounded_too(
    bits: int, gain: float, codebook: bool
) -> None:
    context = context_of(source())
    plan = stored(context, bits)
    better = revised(RoundWeights(lower, codebook=codebook), context, plan)
    check_plan(better, context.model, context.target, context.shapes)
    for name in _REAL:
        planned = better.uses[Use(name, 1)]
        assert planned.codes is not None
        assert codebook or planned.levels is None
    assert set(better.bias_shift) == _LAYERS
    assert not {"w", "d", "v"} & set(better.values), "they are no weights on integers"
    assert sqnr(context, better) > sqnr(context, plan) + gain


def test_layers_in_float_read_what_the_file_holds_at_every_level() -> None:
    """Nothing but a last layer on integers: what it reads differs by what floats round."""
    context = context_of(source())
    better = revised(RoundWeights(lower), context, stored(context, 3))
    assert any(planned.levels is not None for planned in better.uses.values())
    model = lower(context.model, better)
    plain, optimized = (make_session(model, optimize=on) for on in (False, True))
    for feed in feeds(1000, 8):
        first, second = plain.run(feed)["y"], optimized.run(feed)["y"]
        assert np.abs(first - second).max() < 0.02 * np.abs(first).max()


def test_eight_bits_in_float_behind_fewer_make_up_for_their_errors() -> None:
    context = context_of(source())
    few, wide = stored(context, 3, ("node_c", "node_e")), stored(context, 8, ("node_h",))
    plan = plan_for(context, AssignIntegers(weight_bits=4, keep_float=_REAL))
    plan = replace(plan, uses={**few.uses, **wide.uses})
    better = revised(RoundWeights(lower), context, plan)
    planned = better.uses[Use("node_h", 1)]
    assert planned.codes is not None
    assert planned.levels is None
    assert planned.codes.max() > 64, "no pairs of codes are added in float"
    left = replace(better, uses={**better.uses, **wide.uses})
    assert sqnr(context, better) > sqnr(context, left)


def test_the_same_samples_give_the_same_codes() -> None:
    context = context_of(source())
    plan = planned(context)
    one, two = (revised(RoundWeights(lower), context, plan) for _ in range(2))
    for name in "wdvg":
        first, second = one.values[name].codes, two.values[name].codes
        assert first is not None
        assert second is not None
        np.testing.assert_array_equal(first, second)


def test_no_scale_is_too_small_for_its_bias() -> None:
    model = source()
    bias = np.full(8, 1e6, np.float32)
    model.graph.initializers["b"].const_value = ir.tensor(bias)
    context = context_of(model)
    better = revised(RoundWeights(lower), context, planned(context))
    x, w = better.values["x"].params, better.values["w"].params
    assert x is not None
    assert w is not None
    assert (bias / (x.scale * w.scale) <= 2.0**30 * 1.001).all()
