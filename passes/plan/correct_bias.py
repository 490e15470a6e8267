"""Empirical bias correction: E[y] of the quantized layer is brought back to the float layer's.

For every heavy node with output y = Wx + b, in graph order, with x̂ what the already corrected
quantized prefix delivers,

    bias_shift = E[Wx + b] - E[Ŵx̂ + b̂]       per output channel, over samples and positions

(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2, with the expectation from data). A mean over few samples is uncertain: each shift is
shrunk by 1 - (standard error / shift)², and dropped where the error exceeds it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.roles import is_constant
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.channels import Writing, writing_of
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.runtime.segments import SegmentedRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt
    import onnx_ir as ir


__all__ = ["CorrectBias"]

_BUDGET_BYTES = 1 << 27
_FEWEST, _MOST = 4, 32
_PLAIN = Writing(np.ones(1, np.float32), np.zeros(1, np.float32))


@dataclass(frozen=True)
class CorrectBias(PlanPass):
    """Fills ``bias_shift`` of every Conv and Gemm, one after the other.

    Attributes:
        lower: Makes the quantized model of a plan, with node names kept.
        samples: How many calibration samples to run; None = as many as :data:`_BUDGET_BYTES` hold
            of both models' live values, 4 to 32.
    """

    name = "correct-bias"

    lower: Callable[[ir.Model, QuantPlan], ir.Model]
    samples: int | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the bias shifts; runs both models once over the samples."""
        ends = [
            str(node.name)
            for node in context.model.graph
            if node.op_type in ("Conv", "Gemm") and _on_integers(node, plan)
        ]
        if any(True for _ in context.model.graph.subgraphs()):
            reason = "layers cannot be run one by one around If and Loop"
            return plan.with_notes([Note(NoteKind.REFUSED, self.name, "graph", reason)])
        feeds = list(context.samples(self.samples or _affordable(context)))
        real = SegmentedRun(context.model, ends, feeds, threads=context.threads)
        coded = SegmentedRun(self.lower(context.model, plan), ends, feeds, threads=context.threads)
        nodes = {str(node.name): node for node in context.model.graph}
        shifts: dict[str, npt.NDArray[np.float32]] = {}
        for (name, wanted), (_, found) in zip(real, coded, strict=True):
            writing = writing_of(nodes[name], plan) or _PLAIN
            shape = (-1, *[1] * (found[0].ndim - 2))
            factor, offset = writing.factor.reshape(shape), writing.offset.reshape(shape)
            shift = _shift(wanted, ((array - offset) / factor for array in found))
            if not shift.any():
                continue
            shifts[name] = shift + plan.bias_shift.get(name, np.float32(0))
            for index, array in enumerate(found):
                found[index] = np.asarray(array + shift.reshape(shape) * factor, np.float32)
        return replace(plan, bias_shift={**plan.bias_shift, **shifts})


def _on_integers(node: ir.Node, plan: QuantPlan) -> bool:
    """Float nodes keep their bias: the next integer one makes up for what reaches it."""
    if str(node.name) in plan.float_nodes or not is_constant(node.inputs[1]):
        return False
    seen = [plan.of(str(node.inputs[i].name), Use(str(node.name), i)) for i in (0, 1)]  # type: ignore[union-attr]
    return all(planned is not None for planned in seen)


def _affordable(context: PlanContext) -> int:
    """Returns how many samples fit: about three values of the largest size live at a time."""
    largest = max((math.prod(shape) for shape in context.shapes.values()), default=1)
    live = 3 * 4 * max(largest, 1) * len(("float", "quantized"))
    return int(np.clip(_BUDGET_BYTES // live, _FEWEST, _MOST))


def _shift(
    wanted: list[npt.NDArray[np.float32]], found: Iterable[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    """Returns the shrunk mean difference per channel, float32 [C]; arrays are [n, C, …]."""
    axes = tuple(i for i in range(wanted[0].ndim) if i != 1)
    means = np.stack(
        [(a - b).mean(axis=axes, dtype=np.float64) for a, b in zip(wanted, found, strict=True)]
    )
    mean = means.mean(axis=0)
    error = means.var(axis=0, ddof=1) / len(means) if len(means) > 1 else mean**2
    kept = np.maximum(1 - error / np.maximum(mean**2, 1e-30), 0)
    return np.asarray(mean * kept, np.float32)
