"""Empirical bias correction: E[y] of the quantized layer is brought back to the float layer's.

For every heavy node with output y = Wx + b, in graph order, with x̂ what the already corrected
quantized prefix delivers,

    bias_shift = E[Wx + b] - E[Ŵx̂ + b̂]       per output channel, over samples and positions

(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2, with the expectation from data). A mean over few samples is uncertain: each shift is
shrunk by 1 - (standard error / shift)², and dropped where the error exceeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.roles import is_constant
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.channels import Writing, writing_of
from onnxq.runtime.segments import SegmentedRun

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["CorrectBias"]

_PLAIN = Writing(np.ones(1, np.float32), np.zeros(1, np.float32))


@dataclass(frozen=True)
class CorrectBias(PlanPass):
    """Fills ``bias_shift`` of every Conv and Gemm, one after the other.

    Attributes:
        lower: Makes the quantized model of a plan, with node names kept.
        samples: How many calibration samples to run.
    """

    name = "correct-bias"

    lower: Callable[[ir.Model, QuantPlan], ir.Model]
    samples: int = 8

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the bias shifts; runs both models once over the samples."""
        ends = [
            str(node.name)
            for node in context.model.graph
            if node.op_type in ("Conv", "Gemm") and is_constant(node.inputs[1])
        ]
        feeds = list(context.samples(self.samples))
        real = SegmentedRun(context.model, ends, feeds, threads=context.threads)
        coded = SegmentedRun(self.lower(context.model, plan), ends, feeds, threads=context.threads)
        nodes = {str(node.name): node for node in context.model.graph}
        shifts: dict[str, npt.NDArray[np.float32]] = {}
        for (name, wanted), (_, found) in zip(real, coded, strict=True):
            writing = writing_of(nodes[name], plan) or _PLAIN
            shape = (-1, *[1] * (found[0].ndim - 2))
            factor, offset = writing.factor.reshape(shape), writing.offset.reshape(shape)
            shift = _shift(wanted, [(array - offset) / factor for array in found])
            if not shift.any():
                continue
            shifts[name] = shift
            for index, array in enumerate(found):
                found[index] = np.asarray(array + shift.reshape(shape) * factor, np.float32)
        return replace(plan, bias_shift={**plan.bias_shift, **shifts})


def _shift(
    wanted: list[npt.NDArray[np.float32]], found: list[npt.NDArray[np.float32]]
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
