"""Each numbered rule of the pass, on plans of AssignIntegers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.widen_weights import WidenWeights
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.tasks.loss import GenericLoss
from tests.passes.plan.planning import build, context_for, hand_context, revised
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.tasks.loss import OutputLoss


def at_outputs(model: ir.Model) -> OutputLoss:
    return GenericLoss([str(value.name) for value in model.graph.outputs])


def source() -> ir.Model:
    """First layer u, depthwise d, then m and v, last layer w: 64, 72, 64, 4096, 2048 elements."""
    return build(
        """f (float[1,8,4,4] x, float[8,8,1,1] u, float[8,1,3,3] d, float[8,8,1,1] m,
            float[512,8,1,1] v, float[4,512,1,1] w) => (float[1,4,4,4] y) {
            a = Conv(x, u)
            b = Conv <group = 8, pads = [1, 1, 1, 1]> (a, d)
            c = Conv(b, m)
            e = Conv(c, v)
            y = Conv(e, w) }""",
        u=rng_weight(8, 8, 1, 1), d=rng_weight(8, 1, 3, 3, seed=1), m=rng_weight(8, 8, 1, 1),
        v=rng_weight(512, 8, 1, 1, seed=2), w=rng_weight(4, 512, 1, 1, seed=3),
    )  # fmt: skip


def widened(bits: int, share: float | None = None, keep: str = "") -> tuple[set[str], QuantPlan]:
    """Returns the weights that have 8 bits afterwards, and the plan; there are no samples."""
    context = hand_context(source())
    assign = AssignIntegers(keep_float=(keep,) if keep else (), weight_bits=bits)
    before = revised(assign, context, QuantPlan())
    pass_ = WidenWeights(at_outputs) if share is None else WidenWeights(at_outputs, share)
    after = revised(pass_, context, before)
    return wide_of(after, "udmvw"), after


def wide_of(plan: QuantPlan, names: str) -> set[str]:
    return {n for n in names if n in plan.values and plan.values[n].spec.dtype.bits == 8}


def test_rule_1_depthwise_first_and_last_layers_are_candidates() -> None:
    assert widened(4, share=1.0)[0] == {"u", "d", "w"}


def test_rule_1_layers_in_float_are_none() -> None:
    assert "u" not in widened(4, share=1.0, keep="node_a")[0]


def test_rule_2_small_ones_come_first() -> None:
    wide, plan = widened(4, share=0.1)
    assert wide == {"u", "d"}
    refused = [note.where for note in plan.notes if note.kind is NoteKind.REFUSED]
    assert refused == ["w"]


@pytest.mark.parametrize(("share", "wide"), [(0.0, ""), (0.029, "u"), (0.06, "ud"), (0.7, "udw")])
def test_rule_2_kinds_have_half_of_the_share_of_all_weights(share: float, wide: str) -> None:
    assert widened(4, share)[0] == set(wide)


def side_by_side(y: str = "z") -> ir.Model:
    """Layers a, b and c between p and q: 4 bits cost a most, b a thousandth, the others nothing.

    Args:
        y: What becomes of the last layer's output z.
    """
    signs = np.sign(rng_weight(8, 8, 1, 1))
    return build(
        f"""f (float[1,8,4,4] x, float[8,8,1,1] p, float[8,8,1,1] a, float[8,8,1,1] b,
            float[8,8,1,1] c, float[8,8,1,1] q) => (float[1,8,...] y) {{
            s = Conv(x, p)
            t = Conv(s, a)
            u = Conv(s, b)
            v = Conv(s, c)
            w = Sum(t, u, v)
            z = Conv(w, q)
            y = {y} }}""".replace(",...", "" if "Det" in y else ",4,4"),
        p=signs, c=signs, q=signs, a=rng_weight(8, 8, 1, 1, seed=2),
        b=rng_weight(8, 8, 1, 1, seed=3) * np.float32(1e-3),
    )  # fmt: skip


def widened_side_by_side(share: float, y: str = "Relu(z)") -> tuple[set[str], QuantPlan]:
    context = context_for(side_by_side(y))
    before = revised(AssignIntegers(weight_bits=4), context, QuantPlan())
    after = revised(WidenWeights(at_outputs, share), context, before)
    return wide_of(after, "pqabc"), after


@pytest.mark.parametrize(("share", "wide"), [(0.2, "a"), (0.4, "pa"), (0.8, "pqa")])
def test_rule_3_those_that_cost_more_than_the_mean_follow(share: float, wide: str) -> None:
    assert widened_side_by_side(share)[0] == set(wide)


def test_rule_3_without_a_gradient_kinds_alone_decide() -> None:
    wide, plan = widened_side_by_side(0.8, "Det(z)")
    assert wide == {"p", "q"}
    own = [note for note in plan.notes if note.source == WidenWeights.name]
    (refused,) = [note for note in own if note.kind is NoteKind.REFUSED]
    assert refused.where == "graph"
    assert "Det" in refused.text


def test_weights_of_eight_bits_stay_as_they_are() -> None:
    context = hand_context(source())
    before = revised(AssignIntegers(), context, QuantPlan())
    assert WidenWeights(at_outputs).revise(context, before) is before
