from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.correct_bias import CorrectBias
from onnxq.plan.spec import QParams
from onnxq.runtime.channel_means import channel_means
from onnxq.runtime.session import make_session
from tests.passes.plan.planning import build, context_for, plan_for, revised, samples_for
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan

_TEXT = """f (float[1,4,8,8] x, float[6,4,3,3] w, float[6] b, float[5,6,3,3] v, float[3,5] g)
    => (float[1,5,4,4] y, float[1,3] z) {
    c = Conv(x, w, b)
    r = Relu(c)
    y = Conv(r, v)
    p = GlobalAveragePool(y)
    f = Flatten(p)
    z = Gemm<transB = 1>(f, g) }"""


def source() -> ir.Model:
    return build(
        _TEXT, w=rng_weight(6, 4, 3, 3), b=rng_weight(6), v=rng_weight(5, 6, 3, 3, seed=1),
        g=rng_weight(3, 5, seed=2),
    )  # fmt: skip


def lower(model: ir.Model, plan: QuantPlan) -> ir.Model:
    return LowerToQdq(plan)(model).model


def planted(context: PlanContext, keep: tuple[str, ...] = ()) -> QuantPlan:
    """A plan whose weight codes are all too large by two steps: a bias error in every channel."""
    plan = plan_for(context, AssignIntegers(per_channel=False, keep_float=keep))
    changed = {}
    for name in ("w", "v"):
        if name not in plan.values:
            continue
        params = plan.values[name].params
        assert params is not None
        weight = context.model.graph.initializers[name].const_value
        assert weight is not None
        codes = np.clip(np.rint(weight.numpy() / params.scale) + 2, -127, 127).astype(np.int32)
        changed[name] = replace(plan.values[name], codes=codes)
    return plan.with_values(changed)


def means(model: ir.Model, context: PlanContext, node: str) -> npt.NDArray[np.float64]:
    """Mean of what a node computes, before it is quantized, per channel."""
    name = str(model.graph.node(node).outputs[0].name)
    session = make_session(model, optimize=False, outputs=[name])
    found = [session.run(feed)[name] for feed in context.samples(16)]
    return np.asarray(np.concatenate(found).mean(axis=(0, 2, 3), dtype=np.float64))


def context_of(model: ir.Model, shift: float = 1.0) -> PlanContext:
    """Samples with a mean, so that wrong weights shift the layers' means for certain."""
    feeds = [{"x": feed["x"] + np.float32(shift)} for feed in samples_for(model, 12)]
    return context_for(model, samples=feeds)


def off(context: PlanContext, plan: QuantPlan) -> float:
    """By how much the last convolution's means are off, in the worst channel."""
    quantized, real = lower(context.model, plan), context.model
    return float(np.abs(means(quantized, context, "node_y") - means(real, context, "node_y")).max())


def test_shifts_bring_the_means_back() -> None:
    context = context_of(source())
    plan = planted(context)
    corrected = revised(CorrectBias(lower), context, plan)
    assert off(context, plan) > 2
    assert off(context, corrected) < 0.02 * off(context, plan)


def test_only_the_shifts_change() -> None:
    context = context_of(source())
    plan = planted(context)
    corrected = revised(CorrectBias(lower), context, plan)
    for field in ("values", "uses", "groups", "float_nodes"):
        assert getattr(corrected, field) == getattr(plan, field)
    assert set(corrected.bias_shift) <= {"node_c", "node_y", "node_z"}
    assert {"node_c", "node_y"} <= set(corrected.bias_shift)
    assert {name: shift.shape for name, shift in corrected.bias_shift.items()}["node_c"] == (6,)
    assert all(shift.dtype == np.float32 for shift in corrected.bias_shift.values())


def test_a_float_layer_in_between_does_not_mislead_those_behind_it() -> None:
    model = build(
        """f (float[1,4,8,8] x, float[6,4,3,3] w, float[6,6,1,1] k, float[5,6,3,3] v)
            => (float[1,5,4,4] y) {
            c = Conv(x, w)
            d = Conv(c, k)
            y = Conv(d, v) }""",
        w=rng_weight(6, 4, 3, 3), k=rng_weight(6, 6, 1, 1, seed=3),
        v=rng_weight(5, 6, 3, 3, seed=1),
    )  # fmt: skip
    # Samples that hardly differ, so that no shift is doubtful.
    base, *others = samples_for(model, 9)
    feeds = [{"x": base["x"] + np.float32(0.01) * feed["x"]} for feed in others]
    context = context_for(model, samples=feeds)
    plan = planted(context, keep=("node_d",))
    params = plan.values["c"].params
    assert params is not None
    # A range that clips: the convolution's own shift cannot mend it, the next layer's can.
    tight = QParams(np.asarray(params.scale / 3, np.float32), params.zero_point)
    plan = plan.with_values({"c": replace(plan.values["c"], params=tight)})
    corrected = revised(CorrectBias(lower), context, plan)
    assert off(context, corrected) < 0.05 * off(context, plan)


def test_a_second_run_keeps_the_correction() -> None:
    context = context_of(source())
    plan = planted(context)
    once = revised(CorrectBias(lower), context, plan)
    twice = revised(CorrectBias(lower), context, once)
    assert off(context, twice) < 0.02 * off(context, plan)


def test_a_shift_that_the_plan_holds_already_counts() -> None:
    context = context_of(source())
    shift = np.full(6, 3.0, np.float32)
    plan = replace(planted(context), bias_shift={"node_c": shift, "elsewhere": shift})
    corrected = revised(CorrectBias(lower), context, plan)
    fresh = revised(CorrectBias(lower), context, planted(context))
    np.testing.assert_allclose(
        corrected.bias_shift["node_c"], fresh.bias_shift["node_c"], rtol=0.02, atol=0.02
    )
    assert corrected.bias_shift["elsewhere"] is shift


@pytest.mark.parametrize("per_channel", [True, False])
def test_an_honest_plan_is_hardly_moved(per_channel: bool) -> None:
    context = context_of(source())
    plan = plan_for(context, AssignIntegers(per_channel=per_channel))
    corrected = revised(CorrectBias(lower), context, plan)
    assert off(context, corrected) <= off(context, plan) * 1.05 + 1e-3
    assert context.stats is not None
    for name, shift in corrected.bias_shift.items():
        assert np.abs(shift).max() < 0.05 * context.stats[name[-1]].std, name


def test_one_sample_is_no_evidence() -> None:
    context = context_of(source())
    corrected = revised(CorrectBias(lower, samples=1), context, planted(context))
    assert not corrected.bias_shift


def test_noise_is_shrunk_away() -> None:
    # Means that differ between samples by far more than their mean: the shift is dropped.
    from onnxq.passes.plan.correct_bias import _shrunk

    noise = np.random.default_rng(0).standard_normal(8)
    noise -= noise.mean() - 0.01
    differences = np.stack([noise, np.full(8, 5.0)], axis=1)
    assert _shrunk(differences).tolist() == pytest.approx([0.0, 5.0], abs=1e-5)


def test_the_correction_is_the_same_every_time() -> None:
    context = context_of(source())
    one, two = (revised(CorrectBias(lower), context, planted(context)) for _ in range(2))
    for name, shift in one.bias_shift.items():
        np.testing.assert_array_equal(shift, two.bias_shift[name])


def test_means_that_calls_share_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_for(source())
    first, second = planted(context), plan_for(context)
    shared = CorrectBias(lower, means={})
    taken: list[int] = []

    def counted(*args: object, **options: object) -> object:
        taken.append(1)
        return channel_means(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("onnxq.passes.plan.correct_bias.channel_means", counted)
    for plan in (first, second):
        found = shared.revise(context, plan).bias_shift
        alone = CorrectBias(lower).revise(context, plan).bias_shift
        assert found.keys() == alone.keys()
        for name, shift in found.items():
            np.testing.assert_array_equal(shift, alone[name])
    assert len(taken) == 3
