"""Runs a plan pass that somebody else wrote, so that it can do no harm."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from onnxq.errors import OnnxqError
from onnxq.graph.io import fingerprint
from onnxq.plan.check import violations
from onnxq.plan.quant_plan import QuantPlan

if TYPE_CHECKING:
    from onnxq.passbase import PlanContext, PlanPass

__all__ = ["Revision", "guarded"]

logger = logging.getLogger(__name__)


class Revision(NamedTuple):
    """What a plan pass did.

    Attributes:
        plan: The plan that stands.
        seconds: Wall time of the pass, checks left out.
        fault: Why its plan was thrown away; None if it stands.
    """

    plan: QuantPlan
    seconds: float
    fault: str | None = None


def guarded(revision: PlanPass, context: PlanContext, plan: QuantPlan) -> Revision:
    """Runs ``revision`` on a copy of the model, and keeps ``plan`` if it does not do as it should.

    1. It does not raise.
    2. It returns a plan, with the notes of ``plan`` in front of its own.
    3. It leaves the model as it is.
    4. Its plan has no fault (:func:`onnxq.plan.check.violations`) that ``plan`` has not.

    Raises:
        OnnxqError: It met something that the user has to mend.
    """
    copy = context.model.clone()
    start = time.perf_counter()
    try:
        revised = revision.revise(replace(context, model=copy), plan)
    except OnnxqError:
        raise
    except Exception as error:
        logger.debug("%s raised", revision.name, exc_info=True)
        fault: str | None = f"it raised {type(error).__name__}: {error}"
        revised = plan
    else:
        fault = None
    seconds = time.perf_counter() - start
    if fault is None and fingerprint(copy) != fingerprint(context.model):
        fault = "it edited the float model"
    if fault is None:
        fault = _fault(revised, context, plan)
    if fault is not None:
        logger.warning("%s was rolled back: %s", revision.name, fault)
        return Revision(plan, seconds, fault)
    return Revision(revised, seconds)


def _fault(revised: object, context: PlanContext, plan: QuantPlan) -> str | None:
    """Rules 2 and 4."""
    if not isinstance(revised, QuantPlan):
        return f"it returned a {type(revised).__name__} and no plan"
    if revised.notes[: len(plan.notes)] != plan.notes:
        return "it took notes of other passes out of the plan"
    if revised is plan:
        return None
    where = context.model, context.target, context.shapes
    known = set(violations(plan, *where))
    try:
        new = [line for line in violations(revised, *where) if line not in known]
    except Exception as error:
        return f"its plan cannot be read: {type(error).__name__}: {error}"
    return f"its plan does not fit: {new[0]}" if new else None
