"""Each numbered rule of the pass, on plans whose activations have four bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.passes.plan.widen_activations import WidenActivations
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import build, context_for, hand_context, revised
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.tasks.loss import OutputLoss

FIRED, REFUSED = NoteKind.FIRED, NoteKind.REFUSED


def at_outputs(model: ir.Model) -> OutputLoss:
    return GenericLoss([str(value.name) for value in model.graph.outputs])


def side_by_side(y: str = "Relu(z)") -> ir.Model:
    """Layers a, b and c read s, t and u, and take 1024, 1024 and 2048 of 6144 products.

    What b and c make of their inputs counts a tenth and a thousandth of what a does.

    Args:
        y: What becomes of the last layer's output z.
    """
    shape = "8" if "Det" in y else "8,4,4"
    return build(
        f"""f (float[1,8,4,4] x, float[8,8,1,1] p, float[8,8,1,1] a, float[8,8,1,1] b,
            float[16,8,1,1] c, float[8,8,1,1] q) => (float[1,{shape}] y) {{
            r = Conv(x, p)
            s = Relu(r)
            t = Sigmoid(r)
            u = Tanh(r)
            d = Conv(s, a)
            e = Conv(t, b)
            g = Conv(u, c)
            i, j = Split <axis = 1, num_outputs = 2> (g)
            h = Sum(d, e, i, j)
            z = Conv(h, q)
            y = {y} }}""",
        p=rng_weight(8, 8, 1, 1), q=rng_weight(8, 8, 1, 1, seed=1),
        a=rng_weight(8, 8, 1, 1, seed=2), b=rng_weight(8, 8, 1, 1, seed=3) * np.float32(0.1),
        c=rng_weight(16, 8, 1, 1, seed=4) * np.float32(1e-3),
    )  # fmt: skip


def widened(
    share: float, y: str = "Relu(z)", context: PlanContext | None = None
) -> tuple[set[str], QuantPlan]:
    """Returns the activations that have 8 bits afterwards, of what a, b and c read."""
    context = context_for(side_by_side(y)) if context is None else context
    before = revised(AssignIntegers(per_channel=False), context, QuantPlan())
    before = revised(NarrowActivations(4), context, before)
    assert {before.values[n].spec.dtype.bits for n in "stu"} == {4}
    after = revised(WidenActivations(at_outputs, FitActivations("mse"), share), context, before)
    assert all(after.values[n].params is None for n in "stu")
    return {n for n in "stu" if after.values[n].spec.dtype.bits == 8}, after


@pytest.mark.parametrize(
    ("share", "wide"),
    [(0.0, ""), (0.16, ""), (0.17, "s"), (0.34, "st"), (0.66, "st"), (0.67, "stu"), (1.0, "stu")],
)
def test_rule_1_the_costliest_for_each_product_come_first(share: float, wide: str) -> None:
    found, plan = widened(share)
    assert found == set(wide)
    own = [n.where for n in plan.notes if n.source == WidenActivations.name and n.kind is FIRED]
    assert own == list(wide)


def test_rule_1_values_that_share_params_stay_alike() -> None:
    source = build(
        """f (float[1,8,4,4] x, float[8,8,1,1] p, float[8,8,1,1] a, float[8,8,1,1] q)
            => (float[1,8,4,4] y) {
            r = Conv(x, p)
            s = MaxPool <kernel_shape = [1, 1]> (r)
            t = Conv(s, a)
            y = Conv(t, q) }""",
        p=rng_weight(8, 8, 1, 1), a=rng_weight(8, 8, 1, 1, seed=1),
        q=rng_weight(8, 8, 1, 1, seed=2),
    )  # fmt: skip
    context = context_for(source)
    before = revised(AssignIntegers(per_channel=False), context, QuantPlan())
    before = revised(NarrowActivations(4), context, before)
    after = revised(WidenActivations(at_outputs, FitActivations("mse"), 1.0), context, before)
    assert {before.values[n].spec.dtype.bits for n in "rs"} == {4}
    assert {after.values[n].spec.dtype.bits for n in "rs"} == {8}


def test_rule_2_without_a_gradient_none_is_widened() -> None:
    wide, plan = widened(1.0, "Det(z)")
    assert not wide
    (refused,) = [n for n in plan.notes if n.source == WidenActivations.name]
    assert (refused.kind, refused.where) == (REFUSED, "graph")
    assert "Det" in refused.text


def test_rule_2_without_samples_none_is_widened() -> None:
    assert not widened(1.0, context=hand_context(side_by_side()))[0]


def test_activations_of_eight_bits_stay_as_they_are() -> None:
    context = context_for(side_by_side())
    plan = revised(AssignIntegers(), context, QuantPlan())
    assert revised(WidenActivations(at_outputs, FitActivations()), context, plan) is plan


def test_the_plan_is_the_same_at_every_run() -> None:
    plans = [widened(0.34)[1] for _ in range(2)]
    assert plans[0].notes == plans[1].notes
