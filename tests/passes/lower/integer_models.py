"""Integer-only models for tests, and the QDQ models of the same plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq import reference
from onnxq.graph.spec_integer import prove_integer
from onnxq.passes.lower.integer import LowerToInteger
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.plan.check import check_plan
from onnxq.plan.target import load_target
from onnxq.runtime.session import make_session
from tests.passes.plan.planning import context_for, plan_for
from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from tests.support import Level

    Arrays = Mapping[str, npt.NDArray[Any]]

__all__ = ["Forms", "assert_exact", "codes_of", "forms"]

_LEVELS: tuple[Level, ...] = ("off", "basic", "extended", "all")


class Forms(NamedTuple):
    """Both forms of one plan."""

    plan: QuantPlan
    integer: ir.Model
    qdq: ir.Model


def forms(source: ir.Model, plan: QuantPlan | None = None, *, narrow: bool = False) -> Forms:
    """Plans a float model for integers alone, and lowers it in both forms."""
    target = load_target("integer")
    context = context_for(source, target)
    plan = plan_for(context) if plan is None else plan
    check_plan(plan, source, target, context.shapes)
    return Forms(
        plan, LowerToInteger(plan, narrow=narrow)(source).model, LowerToQdq(plan)(source).model
    )


def codes_of(model: ir.Model, names: list[str], feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Returns the codes of values, [N, C, H, W] or the other way round, without optimizations."""
    inner = {str(out.name) for node in model.graph for out in node.outputs}
    wanted = {f"{name}_quantized" for name in names} & inner
    return make_session(model, optimize=False, outputs=sorted(wanted)).run(feeds)


def assert_exact(model: ir.Model, feeds: Arrays) -> Arrays:
    """Asserts that a model is proven integer-only, and gives the same bits at every level.

    They are those of the reference, which knows no onnxruntime.
    """
    assert prove_integer(model).violations == ()
    first, *others = (run(model, feeds, level) for level in _LEVELS)
    for other in (*others, reference.run(model, feeds)):
        for name, array in first.items():
            np.testing.assert_array_equal(other[name], array, err_msg=name)
    return first
