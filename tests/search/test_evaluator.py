"""What the evaluator says of a plan is what the written model does, cached or not."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.passes.lower import lowered, simulated
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import IntType, QuantSpec
from onnxq.plan.weight_params import weight_params
from onnxq.runtime.session import make_session
from onnxq.search.evaluator import Evaluator
from onnxq.tasks.classification_loss import ClassificationLoss
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import context_for, plan_for, samples_for
from tests.search.networks import NETWORKS, activations, first_plan, scaled

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.simulation import Simulation

LOSS = GenericLoss(["y"])
FACTORS = (0.6, 0.8, 1.3)
CASES = [*((name, 8) for name in NETWORKS), ("branches", 4), ("clipped", 4)]


@functools.cache
def planned(name: str, bits: int = 8) -> tuple[ir.Model, QuantPlan]:
    model = NETWORKS[name]()
    return model, first_plan(model, bits)


def evaluator(model: ir.Model, **options: object) -> Evaluator:
    settings: dict[str, object] = {"segments": 4, **options}
    return Evaluator(model, simulated, samples_for(model, 3), LOSS, **settings)  # type: ignore[arg-type]


def written(model: ir.Model, plan: QuantPlan) -> npt.NDArray[np.float64]:
    """The loss of each sample with the model that would be written."""
    real, quantized = make_session(model), make_session(lowered(model, plan))
    feeds = samples_for(model, 3)
    return np.array([LOSS.measure(real.run(feed), quantized.run(feed)) for feed in feeds])


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_the_loss_is_that_of_the_written_model(name: str, bits: int) -> None:
    model, plan = planned(name, bits)
    asked = evaluator(model)
    plans = [plan, *(scaled(plan, 0.7, value) for value in activations(model, plan)[::2])]

    for candidate in plans:
        np.testing.assert_array_equal(asked.each([candidate])[0], written(model, candidate))


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_a_cached_evaluation_equals_an_uncached_one_bit_for_bit(name: str, bits: int) -> None:
    model, plan = planned(name, bits)
    cached, uncached = evaluator(model), evaluator(model, caching=False)

    for value in activations(model, plan)[::2]:
        candidates = [scaled(plan, factor, value) for factor in FACTORS[:2]]
        for kept, anew in zip(cached.each(candidates), uncached.each(candidates), strict=True):
            np.testing.assert_array_equal(kept, anew)
        plan = candidates[1]


def test_prefixes_are_run_once() -> None:
    model, plan = planned("branches")
    value = activations(model, plan)[-3]
    candidates = [scaled(plan, factor, value) for factor in FACTORS]
    cached, uncached = evaluator(model), evaluator(model, caching=False)

    cached.losses(candidates)
    uncached.losses(candidates)

    assert uncached.work == pytest.approx(3 * len(FACTORS))
    assert cached.work < 0.6 * uncached.work


def test_states_beyond_the_budget_are_not_kept() -> None:
    model, plan = planned("branches")
    value = activations(model, plan)[-3]
    candidates = [scaled(plan, factor, value) for factor in FACTORS]
    poor = evaluator(model, budget=0)

    assert poor.losses(candidates) == evaluator(model).losses(candidates)
    assert poor.work == pytest.approx(3 * len(FACTORS))


def test_an_executor_changes_nothing() -> None:
    model, plan = planned("branches")
    candidates = [scaled(plan, factor, "r0") for factor in FACTORS]

    with ThreadPoolExecutor(2) as executor:
        together = evaluator(model, executor=executor).losses(candidates)

    assert together == evaluator(model).losses(candidates)


def test_ranges_that_are_next_to_equal_share_one_evaluation() -> None:
    model, plan = planned("branches")
    asked = evaluator(model)

    losses = asked.losses([scaled(plan, factor, "r0") for factor in (0.8, 0.801, 0.9)])

    assert losses[0] == losses[1] != losses[2]
    assert asked.work < 3 * 2 + 1e-9


def test_a_scan_stops_when_it_worsens(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plan = planned("branches")
    candidates = [scaled(plan, 0.5 + 0.1 * step, "r0") for step in range(7)]
    losses = dict(zip(map(id, candidates), (5.0, 1.0, 4.0, 3.0, 2.0, 2.5, 0.0), strict=True))
    asked = evaluator(model)
    monkeypatch.setattr(
        asked, "_measure", lambda candidate, _cut: np.array([losses[id(candidate)]])
    )

    found = asked.descend(candidates, 3)

    assert {at: loss.item() for at, loss in found.items()} == {3: 3.0, 4: 2.0, 5: 2.5, 2: 4.0}


@pytest.mark.parametrize("change", ["weights", "shift", "float", "fusion"])
def test_whatever_differs_is_measured_right(change: str) -> None:
    model, plan = planned("branches")
    asked = evaluator(model)
    asked.loss(plan)

    params = plan.values["r0"].params
    assert params is not None
    other = {
        "weights": lambda: scaled(plan, 0.9, "w1"),
        "shift": lambda: replace(plan, bias_shift={"": np.ones(8, np.float32)} | {
            str(node.name): np.full(8, 0.2, np.float32) for node in model.graph
            if node.op_type == "Conv"
        }),
        "float": lambda: plan.without(["m2"]),
        # a Relu stays where 0 is not the least code
        "fusion": lambda: plan.with_values({
            name: replace(plan.values[name], params=replace(params, zero_point=np.array(9)))
            for name in plan.group_of("r0") if name in plan.values
        }),
    }[change]()  # fmt: skip

    found = asked.each([other])[0]

    np.testing.assert_array_equal(found, written(model, other))
    assert (found != asked.each([plan])[0]).any()


def test_few_changed_ranges_lower_a_part_of_the_model() -> None:
    model, plan = planned("branches")
    sizes = []

    def counted(source: ir.Model, wanted: QuantPlan) -> Simulation:
        sizes.append(len(source.graph))
        return simulated(source, wanted)

    asked = Evaluator(model, counted, samples_for(model, 1), LOSS)
    asked.loss(plan)
    asked.losses([scaled(plan, factor, "m2") for factor in FACTORS])

    assert sizes[0] == len(model.graph)
    assert all(size < len(model.graph) for size in sizes[1:])


def test_the_loss_may_look_at_values_inside() -> None:
    model, plan = planned("branches")
    inner = Evaluator(model, simulated, samples_for(model, 2), ClassificationLoss("f"))

    assert 0 < inner.loss(plan) < inner.loss(scaled(plan, 0.3, "r0"))


def test_evaluations_are_counted_and_told() -> None:
    model, plan = planned("clipped")
    told: list[int] = []

    evaluator(model, progress=told.append).losses([plan, plan, scaled(plan, 0.5, "x")])

    assert told == [1, 2]


@pytest.mark.parametrize("bits", [8, 4])
def test_other_weights_need_no_other_model(bits: int) -> None:
    model = NETWORKS["branches"]()
    context = context_for(model)
    plan = plan_for(context, AssignIntegers(weight_bits=bits))
    made = []

    def counted(source: ir.Model, wanted: QuantPlan) -> Simulation:
        made.append(len(source.graph))
        return simulated(source, wanted)

    asked = Evaluator(model, counted, samples_for(model, 3), LOSS)
    asked.loss(plan)
    other = scaled(plan, 0.7, "w1")

    np.testing.assert_array_equal(asked.each([other])[0], written(model, other))
    assert made.count(len(model.graph)) == 1


def test_stored_weights_of_a_layer_that_reads_floats_are_measured_right() -> None:
    model, plan = planned("clipped")
    spec = QuantSpec(IntType.parse("int8"), symmetric=True)
    weight = np.asarray(model.graph.initializers["w1"].const_value.numpy(), np.float32)  # type: ignore[union-attr]
    stored = ValuePlan(spec, weight_params(weight, spec))
    others = {name: why for name, why in plan.float_nodes.items() if name != "node_c1"}
    plan = replace(plan.with_values({"w1": stored}), float_nodes=others)
    other = scaled(plan, 1.5, "w1")
    asked = evaluator(model)

    found = [asked.each([one])[0] for one in (plan, other)]

    np.testing.assert_array_equal(found[0], written(model, plan))
    np.testing.assert_array_equal(found[1], written(model, other))
    assert (found[0] != found[1]).any()


def test_without_samples_there_is_nothing_to_measure() -> None:
    with pytest.raises(DataError, match="no sample to measure on"):
        Evaluator(NETWORKS["clipped"](), simulated, [], LOSS)
