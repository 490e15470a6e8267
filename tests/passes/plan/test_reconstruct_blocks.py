"""Blocks are moved towards the float model's outputs, and never lose to where they began."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.config import Config
from onnxq.graph.query import weight_of
from onnxq.passes.lower import lowered, simulated
from onnxq.passes.plan import fitting_passes
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.passes.plan.reconstruct_blocks import ReconstructBlocks
from onnxq.passes.plan.round_weights import RoundWeights
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.weight_codes import code_limits, weight_codes
from onnxq.runtime.compare import Reference
from onnxq.runtime.session import make_session
from onnxq.search.evaluator import Evaluator
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import build, context_for, revised
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import PlanContext

_TEXT = """f (float[1,4,8,8] x, float[8,4,3,3] w, float[8] b, float[8,8,3,3] u, float[8,8,3,3] v,
    float[8,1,3,3] d, float[5,8] g) => (float[1,5] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu(c)
    e = Conv <pads = [1, 1, 1, 1]> (r, u)
    s = Relu(e)
    h = Conv <pads = [1, 1, 1, 1]> (s, v)
    a = Add(h, r)
    t = Relu(a)
    k = Conv <group = 8, strides = [2, 2]> (t, d)
    p = GlobalAveragePool(k)
    f = Flatten(p)
    y = Gemm<transB = 1>(f, g) }"""


def source() -> ir.Model:
    return build(
        _TEXT, w=rng_weight(8, 4, 3, 3), b=rng_weight(8), u=rng_weight(8, 8, 3, 3, seed=1),
        v=rng_weight(8, 8, 3, 3, seed=2), d=rng_weight(8, 1, 3, 3, seed=3),
        g=rng_weight(5, 8, seed=4),
    )  # fmt: skip


def feeds(start: int, count: int) -> list[dict[str, npt.NDArray[np.float32]]]:
    mix = np.random.default_rng(9).normal(size=(4, 4)) + 1
    found = []
    for seed in range(start, start + count):
        x = np.random.default_rng(seed).normal(size=(1, 4, 8, 8)) + 0.5
        found.append({"x": np.einsum("ij,bj...->bi...", mix, x).astype(np.float32)})
    return found


@pytest.fixture(scope="module")
def context() -> PlanContext:
    return context_for(source(), samples=feeds(0, 48))


def rounding(method: str = "gptq") -> RoundWeights:
    return RoundWeights(lowered, method, codebook=False)


def planned(context: PlanContext, weights: int, activations: int = 8) -> QuantPlan:
    plan = revised(AssignIntegers(weight_bits=weights), context, QuantPlan())
    plan = revised(NarrowActivations(activations), context, plan)
    plan = revised(FitActivations("mse"), context, plan)
    return revised(FitWeights(), context, plan)


def rounded(context: PlanContext, weights: int, activations: int = 8) -> QuantPlan:
    return revised(rounding(), context, planned(context, weights, activations))


def nearest(context: PlanContext, weights: int, activations: int = 8) -> QuantPlan:
    """The same layers with the nearest codes, and biases as they are in the float model."""
    plan = planned(context, weights, activations)
    graph = context.model.graph
    coded = {
        name: replace(value, codes=weight_codes(weight, value).astype(np.int32))
        for name, value in plan.values.items()
        if name in graph.initializers
        and (weight := weight_of(graph.initializers[name])) is not None
    }
    return plan.with_values(coded)


def blocks(method: str = "adaround", steps: int = 200) -> ReconstructBlocks:
    def loss(model: ir.Model) -> GenericLoss:
        return GenericLoss([str(value.name) for value in model.graph.outputs])

    return ReconstructBlocks(simulated, loss, rounding().round_layers, method, steps)


def sqnr(context: PlanContext, plan: QuantPlan) -> float:
    """Of the output, on samples that were not calibrated on."""
    reference = Reference(context.model, feeds(1000, 16))
    return min(reference.sqnr(lowered(context.model, plan)).values())


def kinds(plan: QuantPlan, where: str) -> list[NoteKind]:
    return [n.kind for n in plan.notes if n.where == where and n.source == "reconstruct-blocks"]


@pytest.mark.parametrize("method", ["adaround", "flexround"])
def test_from_the_nearest_codes_it_comes_closer(context: PlanContext, method: str) -> None:
    start = nearest(context, 3, 4)
    found = revised(blocks(method), context, start)
    assert kinds(found, "graph") == [NoteKind.FIRED]
    assert sqnr(context, found) > sqnr(context, start) + 1


@pytest.mark.parametrize("bits", [(4, 8), (3, 8), (2, 8), (3, 4)])
def test_it_does_not_lose_what_rounding_by_layers_has_gained(
    context: PlanContext, bits: tuple[int, int]
) -> None:
    start = rounded(context, *bits)
    found = revised(blocks(steps=30), context, start)
    assert sqnr(context, found) > sqnr(context, start) - 0.1
    assert sqnr(context, found) > sqnr(context, nearest(context, *bits)) + 1


@pytest.mark.parametrize("method", ["adaround", "flexround"])
def test_codes_and_scales_stay_within_what_they_may_be(context: PlanContext, method: str) -> None:
    start = nearest(context, 3, 4)
    found = revised(blocks(method, steps=60), context, start)
    for name in "wuvdg":
        planned = found.values[name]
        assert planned.codes is not None
        low, high = code_limits(planned.spec)
        assert low <= planned.codes.min() < planned.codes.max() <= high
    learned = [n for n, v in found.values.items() if v.params and v.params.method == "learned"]
    assert learned
    for name in learned:
        before, after = start.values[name].params, found.values[name].params
        assert before is not None
        assert after is not None
        assert 0.5 <= float(after.scale / before.scale) <= 1.5
        assert after.zero_point == before.zero_point


def test_the_same_input_gives_the_same_codes(context: PlanContext) -> None:
    start = nearest(context, 3, 4)
    one, other = (revised(blocks(steps=60), context, start) for _ in range(2))
    for name, planned in one.values.items():
        twin = other.values[name]
        assert planned.params is not None
        assert twin.params is not None
        np.testing.assert_array_equal(planned.params.scale, twin.params.scale)
        if planned.codes is not None:
            np.testing.assert_array_equal(planned.codes, twin.codes)


def test_what_does_not_help_held_out_samples_is_not_taken(
    context: PlanContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxq.numerics.soft_codes._RATE", 5.0)
    monkeypatch.setattr("onnxq.numerics.learned.falling_rate", lambda _part: 300.0)
    start = rounded(context, 4)
    found = revised(blocks(steps=3), context, start)
    assert dict(found.values) == dict(start.values)
    assert kinds(found, "graph") == [NoteKind.REFUSED]


def test_weights_of_8_bits_stay_as_they_are(context: PlanContext) -> None:
    plan = revised(AssignIntegers(), context, QuantPlan())
    plan = revised(FitActivations("mse"), context, plan)
    plan = revised(FitWeights(), context, plan)
    assert revised(blocks(), context, plan) is plan


def test_few_samples_are_a_reason_to_leave_all_as_it_is(context: PlanContext) -> None:
    few = replace(context, samples=lambda _count: feeds(0, 15))
    start = rounded(context, 3)
    found = revised(blocks(), few, start)
    assert dict(found.values) == dict(start.values)
    assert kinds(found, "graph") == [NoteKind.REFUSED]


def test_the_written_model_computes_the_same_at_both_levels(context: PlanContext) -> None:
    model = lowered(context.model, revised(blocks(steps=60), context, nearest(context, 3, 4)))
    plain, optimized = (make_session(model, optimize=on) for on in (False, True))
    for feed in feeds(1000, 8):
        first, second = plain.run(feed)["y"], optimized.run(feed)["y"]
        assert np.abs(first - second).max() < 0.1 * np.abs(first).max()


@pytest.mark.parametrize(
    ("rounding", "method"), [("blocks", "adaround"), ("flexround", "flexround")]
)
def test_an_option_asks_for_it_behind_rounding_by_layers(rounding: str, method: str) -> None:
    passes = fitting_passes(Config(rounding=rounding, weights=4), lowered)
    by_name = {p.name: p for p in passes}
    layers, found = by_name["round-weights"], by_name["reconstruct-blocks"]
    assert isinstance(layers, RoundWeights)
    assert isinstance(found, ReconstructBlocks)
    assert (layers.method, found.method) == ("gptq+cd", method)
    assert passes.index(found) == passes.index(layers) + 1


def test_without_the_option_it_does_not_run() -> None:
    passes = fitting_passes(Config(weights=4), lowered)
    assert "reconstruct-blocks" not in [p.name for p in passes]


@pytest.mark.parametrize(("fall", "taken"), [(0.02, False), (0.2, True), (-0.2, False)])
def test_a_fall_of_the_loss_counts_where_chance_does_not_explain_it(
    context: PlanContext, monkeypatch: pytest.MonkeyPatch, fall: float, taken: bool
) -> None:
    before = np.linspace(1, 2, 12)
    after = before - fall + 0.1 * np.resize([1, -1], 12)
    monkeypatch.setattr(Evaluator, "each", lambda *_: [before, after])
    found = revised(blocks(steps=1), context, nearest(context, 3))
    assert kinds(found, "graph") == [NoteKind.FIRED if taken else NoteKind.REFUSED]
