from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onnxq.graph.io import written_size
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.round_weights import RoundWeights
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.plan.spec import IntType
from onnxq.plan.stored_weight import stored_weight
from onnxq.search.room import with_room
from tests.passes.plan.planning import build, context_for, plan_for, samples_for
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir


def source() -> ir.Model:
    return build(
        """f (float[1,4,8,8] x, float[8,4,3,3] w, float[8,8,3,3] v, float[8,8,3,3] u)
        => (float[1,8,2,2] y) {
        c = Conv (x, w)
        r = Relu(c)
        e = Conv (r, v)
        y = Conv (e, u) }""",
        w=rng_weight(8, 4, 3, 3),
        v=rng_weight(8, 8, 3, 3, seed=1),
        u=rng_weight(8, 8, 3, 3, seed=2),
    )


CONTEXT = context_for(source(), samples=samples_for(source(), 32))


def planned(bits: int) -> QuantPlan:
    """The first layer on integers, the second in float with a stored weight, the third in float."""
    plan = plan_for(CONTEXT, AssignIntegers(("node_e", "node_y"), weight_bits=bits))
    stored = stored_weight(CONTEXT.model.graph.node("node_e"), IntType(bits, signed=True))
    return replace(plan, uses={Use("node_e", 1): stored})


def size(plan: QuantPlan) -> int:
    return written_size(LowerToQdq(plan)(CONTEXT.model).model)


@pytest.mark.parametrize("codebooks", [True, False])
def test_there_is_room_for_what_rounding_adds(codebooks: bool) -> None:
    plan = planned(4)
    made = RoundWeights(
        lambda model, plan: LowerToQdq(plan)(model).model, codebook=codebooks
    ).revise(CONTEXT, plan)

    grown = with_room(CONTEXT.model, plan, CONTEXT.target, codebooks=codebooks)

    assert set(grown.bias_shift) == {"node_c", "node_e"} == set(made.bias_shift)
    assert size(plan) < size(made) <= size(grown)
    both = (made.values["w"], made.uses[Use("node_e", 1)])
    assert any(one.levels is not None for one in both) == codebooks


def test_rounded_weights_keep_their_levels() -> None:
    plan = planned(4)
    params = plan.values["w"].params
    assert params is not None
    done = replace(plan.values["w"], params=replace(params, method="gptq+cd"))

    grown = with_room(CONTEXT.model, plan.with_values({"w": done}), CONTEXT.target, codebooks=True)

    assert grown.values["w"].levels is None
    assert grown.uses[Use("node_e", 1)].levels is not None


def test_eight_bits_have_no_codebook() -> None:
    grown = with_room(CONTEXT.model, planned(8), CONTEXT.target, codebooks=True)

    assert grown.values["w"].levels is None
    assert grown.uses[Use("node_e", 1)].levels is None
