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
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.roles import is_constant
from onnxq.pass_options import whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.channels import Writing, writing_of
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.runtime.channel_means import channel_mean, channel_means
from onnxq.runtime.segments import SegmentedRun, affordable_samples, uncut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.runtime.session import Feed

__all__ = ["CorrectBias"]

_BUDGET_BYTES = 1 << 26
_FEWEST, _MOST = 4, 32
_PLAIN = Writing(np.ones(1, np.float32), np.zeros(1, np.float32))


@dataclass(frozen=True)
class CorrectBias(PlanPass):
    """Fills ``bias_shift`` of every Conv and Gemm, one after the other.

    Attributes:
        lower: Makes the quantized model of a plan, with node names kept.
        samples: How many calibration samples to run; None = as many as :data:`_BUDGET_BYTES` hold
            of the quantized model's live values, 4 to 32.
        means: Keeps the float model's means between calls, which then share model and samples;
            None = every call takes them.
    """

    name = "correct-bias"
    options = MappingProxyType(
        {"samples": whole("a whole number, 1 or more", lambda count: count >= 1)}
    )
    after = frozenset({"fit-activations", "fit-weights", "correct-bias-analytic"})

    lower: Callable[[ir.Model, QuantPlan], ir.Model]
    samples: int | None = None
    means: dict[tuple[str, ...], Mapping[str, npt.NDArray[np.float64]]] | None = None

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the bias shifts; runs both models once over the samples."""
        nodes = {
            str(node.name): node
            for node in context.model.graph
            if node.op_type in ("Conv", "Gemm") and _on_integers(node, plan)
        }
        if (reason := uncut(context.model)) is not None:
            return plan.with_notes([Note(NoteKind.REFUSED, self.name, "graph", reason)])
        affordable = affordable_samples(context.shapes.values(), _BUDGET_BYTES, 1, _FEWEST, _MOST)
        feeds = list(context.samples(self.samples or affordable))
        wanted = self._wanted(
            context, [str(node.outputs[0].name) for node in nodes.values()], feeds
        )
        coded = SegmentedRun(self.lower(context.model, plan), nodes, feeds, threads=context.threads)
        shifts: dict[str, npt.NDArray[np.float32]] = {}
        for name, found in coded:
            node = nodes[name]
            writing = writing_of(node, plan) or _PLAIN
            means = np.stack([channel_mean(array) for array in found])
            means = (means - writing.offset) / writing.factor
            shift = _shrunk(wanted[str(node.outputs[0].name)] - means)
            if not shift.any():
                continue
            shifts[name] = shift + plan.bias_shift.get(name, np.float32(0))
            step = (shift * writing.factor).reshape(-1, *[1] * (found[0].ndim - 2))
            for index, array in enumerate(found):
                found[index] = np.asarray(array + step, np.float32)
        return replace(plan, bias_shift={**plan.bias_shift, **shifts})

    def _wanted(
        self, context: PlanContext, names: Sequence[str], feeds: Sequence[Feed]
    ) -> Mapping[str, npt.NDArray[np.float64]]:
        """Returns what the float model's values are on average, [samples, C] each."""
        known = {} if self.means is None else self.means
        if tuple(names) not in known:
            found = channel_means(context.model, names, feeds, threads=context.threads)
            known[tuple(names)] = found
        return known[tuple(names)]


def _on_integers(node: ir.Node, plan: QuantPlan) -> bool:
    """Float nodes keep their bias: the next integer one makes up for what reaches it."""
    if str(node.name) in plan.float_nodes or not is_constant(node.inputs[1]):
        return False
    seen = [plan.of(str(node.inputs[i].name), Use(str(node.name), i)) for i in (0, 1)]  # type: ignore[union-attr]
    return all(planned is not None for planned in seen)


def _shrunk(differences: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Returns the mean of ``differences`` [n, C] over the samples, shrunk, float32 [C].

    A sample that one of the models has no numbers of, which is NaN, does not count.
    """
    differences = differences[np.isfinite(differences).all(axis=1)]
    number = len(differences)
    if not number:
        return np.zeros(differences.shape[1], np.float32)
    mean = differences.mean(axis=0)
    error = differences.var(axis=0, ddof=1) / number if number > 1 else mean**2
    kept = np.maximum(1 - error / np.maximum(mean**2, 1e-30), 0)
    return np.asarray(mean * kept, np.float32)
