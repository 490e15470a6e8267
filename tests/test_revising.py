"""Plan passes that somebody else wrote: what they may do stands, all else is thrown away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.graph.io import fingerprint
from onnxq.passbase import PlanContext, PlanPass
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import QParams
from onnxq.revising import guarded
from tests.passes.plan.planning import build, context_for, plan_for
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    Action = Callable[[PlanContext, QuantPlan], QuantPlan]


@dataclass(frozen=True)
class _Theirs(PlanPass):
    name = "theirs"
    action: Action

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        return self.action(context, plan)


def _context() -> PlanContext:
    return context_for(
        build(
            """f (float[1,4,6,6] x, float[4,4,3,3] w) => (float[1,4,4,4] y) {
                y = Conv(x, w) }""",
            w=rng_weight(4, 4, 3, 3),
        )
    )


def _doubled(_: PlanContext, plan: QuantPlan) -> QuantPlan:
    planned = plan.values["x"]
    assert planned.params is not None
    wide = QParams(planned.params.scale * 2, planned.params.zero_point)
    note = Note(NoteKind.FIRED, "theirs", "x", "widened")
    return plan.with_values({"x": replace(planned, params=wide)}).with_notes([note])


def _raise(_context: PlanContext, _plan: QuantPlan) -> QuantPlan:
    raise ZeroDivisionError("of theirs")


def _unfit(_: PlanContext, plan: QuantPlan) -> QuantPlan:
    return plan.with_values({"absent": plan.values["x"]})


def _mad(_: PlanContext, plan: QuantPlan) -> QuantPlan:
    return plan.with_values({"x": "wide"})  # type: ignore[dict-item]


def _edit(context: PlanContext, plan: QuantPlan) -> QuantPlan:
    context.model.graph[0].name = "edited"
    return plan


def test_a_good_plan_stands() -> None:
    context = _context()
    plan = plan_for(context)
    found = guarded(_Theirs(_doubled), context, plan)
    assert found.fault is None
    assert found.seconds > 0
    was, now = plan.values["x"].params, found.plan.values["x"].params
    assert was is not None
    assert now is not None
    np.testing.assert_array_equal(now.scale, was.scale * 2)


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        (_raise, "it raised ZeroDivisionError: of theirs"),
        (_edit, "it edited the float model"),
        (_unfit, "its plan does not fit: "),
        (_mad, "its plan cannot be read: AttributeError"),
        (lambda _context, _plan: None, "it returned a NoneType and no plan"),
    ],
    ids=["raises", "edits", "does_not_fit", "mad", "no_plan"],
)
def test_what_it_may_not_do_is_thrown_away(action: Action, fault: str) -> None:
    context = _context()
    plan, before = plan_for(context), fingerprint(context.model)
    found = guarded(_Theirs(action), context, plan)
    assert found.plan is plan
    assert found.fault is not None
    assert found.fault.startswith(fault)
    assert fingerprint(context.model) == before


def test_what_was_unfit_before_is_not_held_against_it() -> None:
    """In front of the fitting passes no value has params yet."""
    context = _context()
    plan = AssignIntegers().revise(context, QuantPlan())
    assert guarded(_Theirs(lambda _, p: p.with_notes([])), context, plan).fault is None
    fitted = guarded(FitWeights(), context, plan)
    assert fitted.fault is None


def test_a_users_error_passes_through() -> None:
    def refuse(_context: PlanContext, _plan: QuantPlan) -> QuantPlan:
        raise DataError("not like this")

    context = _context()
    with pytest.raises(DataError, match="not like this"):
        guarded(_Theirs(refuse), context, plan_for(context))
