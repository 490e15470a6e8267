"""Lowered models, and what onnxruntime makes of them."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.contract import structural_fault
from onnxq.graph.io import fingerprint, to_bytes
from onnxq.graph.spec import violations_qdq
from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.runtime.session import Trace, make_session
from tests.passes.plan.planning import context_for, plan_for
from tests.passes.rewrite.building import build, rng_weight
from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from onnxq.passbase import PlanContext
    from onnxq.passes.plan.assign_integers import AssignIntegers
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.target import Target

    Feeds = Mapping[str, npt.NDArray[Any]]

__all__ = [
    "Quantized",
    "assert_runs_alike",
    "between_convs",
    "lowered",
    "optimized",
    "optimized_ops",
    "quantized",
]


class Quantized(NamedTuple):
    model: ir.Model
    plan: QuantPlan
    ops: Counter[str]


def between_convs(
    middle: str, *, channels: int = 6, values: str = "", **weights: npt.ArrayLike
) -> ir.Model:
    """A convolution that writes c, ``middle`` that makes r of it, and a convolution that reads r.

    Args:
        middle: Nodes.
        channels: Of r.
        values: Declarations of the weights that ``middle`` reads.
        **weights: Their data.
    """
    declared = f", {values}" if values else ""
    return build(
        f"""f (float[1,4,8,8] x, float[6,4,3,3] w, float[6] b, float[3,{channels},1,1] v{declared})
            => (float[1,3,M,N] y) {{
            c = Conv(x, w, b)
            {middle}
            y = Conv(r, v) }}""",
        w=rng_weight(6, 4, 3, 3),
        b=rng_weight(6),
        v=rng_weight(3, channels, 1, 1, seed=1),
        **weights,
    )


def optimized(source: ir.Model) -> ir.Model:
    """The graph that onnxruntime runs for ``source`` with all optimizations."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Trace(Path(folder))
        make_session(source, trace=trace).end_profiling()
        return ir.from_proto(ir.to_proto(ir.load(trace.graph)))


def optimized_ops(source: ir.Model) -> Counter[str]:
    """How many nodes of each operator onnxruntime runs for ``source``."""
    return Counter(node.op_type for node in optimized(source).graph)


def lowered(source: ir.Model, plan: QuantPlan) -> ir.Model:
    """Lowers and asserts what holds of every lowering: legal, same interface, input untouched."""
    before = fingerprint(source)
    made = LowerToQdq(plan)(source).model
    assert fingerprint(source) == before
    assert violations_qdq(made) == []
    assert structural_fault(source, made) is None
    assert made.ir_version == source.ir_version
    assert made.graph.opset_imports == source.graph.opset_imports
    assert to_bytes(LowerToQdq(plan)(source).model) == to_bytes(made)
    return made


def assert_runs_alike(
    made: ir.Model, feeds: Sequence[Feeds], steps: Mapping[str, float], layers: int = 1
) -> None:
    """Asserts that the unoptimized and the optimized graph agree to one code per layer.

    Args:
        made: A lowered model.
        feeds: One mapping per sample.
        steps: Output name → what one code of it is worth.
        layers: Integer layers in a row.
    """
    for feed in feeds:
        plain, fused = run(made, feed, "off"), run(made, feed, "all")
        for name, wanted in plain.items():
            moved = float(np.abs(fused[name] - wanted).max())
            assert moved <= layers * steps[name] * (1 + 1e-5), name


def quantized(
    source: ir.Model,
    assign: AssignIntegers | None = None,
    *,
    target: Target | None = None,
    layers: int = 2,
    tolerance: float = 0.05,
) -> Quantized:
    """Plans and lowers ``source``, runs it at both levels, and compares it with the float model.

    Args:
        source: The float model.
        assign: How integers are assigned; everything that can run on them does by default.
        target: What the model will run on.
        layers: Integer layers in a row: at most so many codes may lie between the two levels.
        tolerance: Largest error against the float model, relative to the largest output.
    """
    context = context_for(source, target)
    plan = plan_for(context, assign)
    made = lowered(source, plan)
    feeds = list(context.samples(4))
    assert_runs_alike(made, feeds, _steps(source, plan, context), layers)
    wanted, found = ([run(m, f, "all") for f in feeds] for m in (source, made))
    for name in wanted[0]:
        largest = max(float(np.abs(one[name]).max()) for one in wanted)
        for a, b in zip(wanted, found, strict=True):
            assert a[name].shape == b[name].shape
            assert float(np.abs(a[name] - b[name]).max()) <= tolerance * largest, name
    return Quantized(made, plan, optimized_ops(made))


def _steps(source: ir.Model, plan: QuantPlan, context: PlanContext) -> dict[str, float]:
    """What a code is worth at each output: its own scale, or 1/255 of its range where float."""
    assert context.stats is not None
    steps = {}
    for name in (str(value.name) for value in source.graph.outputs):
        params = plan.values[name].params if name in plan.values else None
        spread = (context.stats[name].maximum - context.stats[name].minimum) / 255
        steps[name] = spread if params is None else float(params.scale.max())
    return steps
