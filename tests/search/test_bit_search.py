from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.budget import Budget
from onnxq.config import Config
from onnxq.errors import ModelError
from onnxq.graph.io import written_size
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.round_weights import RoundWeights
from onnxq.plan.quant_plan import QuantPlan
from onnxq.search.bit_search import BitSearch
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import build, context_for, plan_for
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.allocation import Choice
    from onnxq.search.bit_front import BitFront

_TEXT = """f (float[1,4,8,8] x, float[16,4,3,3] w, float[16] b, float[16,16,3,3] v, float[2,16] g)
    => (float[1,2] y{outputs}) {{
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = {relu}(c)
    e = Conv <strides = [2, 2]> (r, v)
    p = GlobalAveragePool(e)
    f = Flatten(p)
    y = Gemm<transB = 1>(f, g) {more} }}"""


def source(relu: str = "Relu", outputs: str = "", more: str = "") -> ir.Model:
    return build(
        _TEXT.format(relu=relu, outputs=outputs, more=more),
        w=rng_weight(16, 4, 3, 3),
        b=rng_weight(16),
        v=rng_weight(16, 16, 3, 3, seed=1),
        g=rng_weight(2, 16, seed=2),
    )


def lower(model: ir.Model, plan: QuantPlan) -> ir.Model:
    return LowerToQdq(plan)(model).model


def fit(context: PlanContext, plan: QuantPlan) -> QuantPlan:
    return FitWeights().revise(context, FitActivations("mse").revise(context, plan))


def search(context: PlanContext, rounding: str = "nearest", **given: Any) -> BitSearch:  # noqa: ANN401
    def replan(context: PlanContext, forced: Mapping[str, str]) -> QuantPlan:
        del context, forced
        raise AssertionError("no budget of latency asks for it")

    made = BitSearch(
        at_outputs=lambda _: GenericLoss(["y"]),
        fit=fit,
        lower=lower,
        replan=replan,
        float_bytes=written_size(context.model),
        config=Config(rounding=rounding, budget=(Budget.parse("bops=1x"),)),
    )
    return replace(made, **given)


def context_of() -> PlanContext:
    mix = np.random.default_rng(9).normal(size=(4, 4)) + 1
    samples = [
        {"x": np.einsum("ij,bj...->bi...", mix, rng.normal(size=(1, 4, 8, 8))).astype(np.float32)}
        for rng in map(np.random.default_rng, range(48))
    ]
    return context_for(source(), samples=samples)


@cache
def front(rounding: str = "nearest") -> BitFront:
    context = context_of()
    return search(context, rounding).front(context, plan_for(context), "quadratic")


def weights(found: BitFront) -> list[Choice]:
    return [one for one in found.choices[:-1] if not one.products]


def test_every_layer_has_its_widths_and_what_they_cost() -> None:
    layers, rest = weights(front()), front().choices[-1]

    assert [layer.name for layer in layers] == ["w", "v", "g"]
    assert rest.name == ""
    for layer in layers:
        assert [option.bits for option in layer.options] == [2, 3, 4, 8] * 2 + [32]
        assert [option.coded for option in layer.options] == [True] * 4 + [False] * 5
        assert [option.real for option in layer.options] == [False] * 4 + [True] * 4 + [False]
        losses = [option.loss for option in layer.options[4:]]
        assert losses[:4] == [option.loss for option in layer.options[:4]]
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] == 0 < losses[-2]
        assert layer.options[1].costs["size"] == pytest.approx(
            layer.options[2].costs["size"], rel=0.02
        ), "3 bits are stored in 4"


def test_what_layers_multiply_has_a_choice_where_operations_are_counted() -> None:
    """The input is no value that a node computes; 64 and 16 products of each of 16 x 16 x 9."""
    products = {one.name: one for one in front().choices if one.products}

    assert {name: dict(one.products) for name, one in products.items()} == {
        "r": {"v": 9.0 * 16 * 16 * 9},
        "f": {"g": 32.0},
    }
    for one in products.values():
        assert [option.bits for option in one.options] == [4, 8]
        assert one.options[0].loss > one.options[1].loss == 0


@pytest.mark.parametrize("share", [0.014, 0.02, 0.04])
def test_operations_are_those_of_both_factors(share: float) -> None:
    budget = Budget("bops", share, relative=True)

    found = front().at([budget])

    bits = {name: option.bits for name, option in found.allocation.options.items()}
    both = 64 * 16 * 36 * bits["w"] * 8
    both += 9 * 16 * 16 * 9 * bits["v"] * bits["r"] + 32 * bits["g"] * bits["f"]
    assert found.allocation.used["bops"] == pytest.approx(both)
    assert both <= share * front().whole["bops"]
    for name in "rf":
        assert found.plan.values[name].spec.dtype.bits == bits[name]
        assert found.plan.values[name].params is not None


@pytest.mark.parametrize("share", [0.53, 0.55])
def test_rounding_adds_no_byte_to_what_was_measured(share: float) -> None:
    found = front("gptq+cd").at([Budget("size", share, relative=True)])

    assert {planned.bits for planned in found.plan.values.values()} > {8}
    context, plan = context_of(), found.plan
    rounded = RoundWeights(lower).revise(context, plan)
    assert any(planned.levels is not None for planned in rounded.values.values())
    assert written_size(lower(context.model, rounded)) <= found.size
    assert found.size <= share * written_size(source())


@pytest.mark.parametrize("share", [0.5, 0.55, 0.65])
def test_sizes_are_those_of_the_files(share: float) -> None:
    found = front().at([Budget("size", share, relative=True)])

    counted = found.allocation.used["size"]
    assert found.size == pytest.approx(counted, rel=0.02)
    assert found.size <= share * written_size(source())
    shifted = replace(found.plan, bias_shift={"node_e": np.zeros(16, np.float32)})
    assert written_size(lower(source(), shifted)) <= found.size


def test_few_bits_cost_what_the_rounding_to_come_loses() -> None:
    nearest, rounded = (
        {(c.name, o.bits): o.loss for c in front(how).choices for o in c.options}
        for how in ("nearest", "gptq+cd")
    )
    for name in "wvg":
        assert rounded[name, 8] == pytest.approx(nearest[name, 8], rel=0.7)
        assert rounded[name, 4] != pytest.approx(nearest[name, 4], rel=0.01)


def test_a_model_without_layers_has_nothing_to_choose() -> None:
    model = build("f (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    context = context_for(model)

    found = search(context).front(context, QuantPlan(), "quadratic")

    assert [one.name for one in found.choices] == [""]


def test_layers_that_the_loss_does_not_see_are_left_alone() -> None:
    context = context_for(source(outputs=", float[1,16,3,3] z", more="z = Identity(e)"))
    made = search(context, at_outputs=lambda _: GenericLoss(["c"]))

    found = made.front(context, plan_for(context), "quadratic")

    assert [one.name for one in found.choices] == ["w", ""]


def test_without_a_gradient_there_is_another_way() -> None:
    context = context_for(source(relu="Shrink"))
    made, plan = search(context), plan_for(context)

    with pytest.raises(ModelError, match=r"Shrink.*--sensitivity measured needs no gradient"):
        made.front(context, plan, "quadratic")
    assert len(weights(made.front(context, plan, "measured"))) == 3


def test_of_widths_that_are_stored_alike_the_widest_is_kept() -> None:
    context = context_for(source())
    made = search(context, config=Config(rounding="nearest", budget=(Budget.parse("size=0.5x"),)))

    *layers, _ = made.front(context, plan_for(context), "sqnr").choices

    assert all([option.bits for option in layer.options] == [4, 8, 4, 8, 32] for layer in layers)
