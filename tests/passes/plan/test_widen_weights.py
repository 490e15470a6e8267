"""Each numbered rule of the pass, on plans of AssignIntegers; no session runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.widen_weights import WidenWeights
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.plan.planning import build, hand_context, revised
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

_SIZES = {"u": 64, "d": 72, "m": 64, "v": 4096, "w": 256}


def source() -> ir.Model:
    """First layer u, depthwise d, then m and v, last layer w."""
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
    """Returns the weights that have 8 bits afterwards, and the plan."""
    context = hand_context(source())
    assign = AssignIntegers(keep_float=(keep,) if keep else (), weight_bits=bits)
    before = revised(assign, context, QuantPlan())
    pass_ = WidenWeights() if share is None else WidenWeights(share)
    after = revised(pass_, context, before)
    wide = {n for n in "udmvw" if n in after.values and after.values[n].spec.dtype.bits == 8}
    return wide, after


def test_rule_1_depthwise_first_and_last_layers_are_candidates() -> None:
    assert widened(4, share=1.0)[0] == {"u", "d", "w"}


def test_rule_1_layers_in_float_are_none() -> None:
    assert "u" not in widened(4, share=1.0, keep="node_a")[0]


def test_rule_2_small_ones_come_first() -> None:
    wide, plan = widened(4)
    assert wide == {"u", "d"}
    refused = [note.where for note in plan.notes if note.kind is NoteKind.REFUSED]
    assert refused == ["w"]


@pytest.mark.parametrize(("share", "wide"), [(0.0, ""), (0.012, "u"), (0.03, "ud"), (0.6, "udw")])
def test_rule_2_the_share_is_one_of_all_weights(share: float, wide: str) -> None:
    assert widened(4, share)[0] == set(wide)


def test_weights_of_eight_bits_stay_as_they_are() -> None:
    context = hand_context(source())
    before = revised(AssignIntegers(), context, QuantPlan())
    assert WidenWeights().revise(context, before) is before
