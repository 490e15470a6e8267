"""How large the channels of weights are, before and after channels were brought to one size.

Two things even channels out: rewrites (``equalize-layers``, ``absorb-biases``,
``smooth-activations``) change the float weights, and the plan folds factors into the weights around
a value with one scale per channel (:mod:`onnxq.plan.channels`). "Before" is ahead of both, "after"
is what is quantized.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import heavy, weight_of
from onnxq.graph.roles import weight_channel_axis
from onnxq.plan.channels import read_factors, writing_of
from onnxq.plan.quant_plan import Use
from onnxq.report.evidence import WeightRanges

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["WeightWatch"]

_EQUALIZING = ("equalize-layers", "absorb-biases", "smooth-activations")


class WeightWatch:
    """Is shown the model ahead of every rewrite; remembers it ahead of the first equalizing one."""

    def __init__(self) -> None:
        self._before: dict[str, npt.NDArray[np.float32]] = {}

    def __call__(self, name: str, model: ir.Model) -> None:
        """Measures the weights if the rewrite ``name`` may bring channels to one size."""
        if name in _EQUALIZING and not self._before:
            self._before = {
                str(node.name): _ranges(node, weight)
                for node in model.graph
                if (weight := _weight(node)) is not None
            }

    def ranges(self, model: ir.Model, plan: QuantPlan) -> tuple[WeightRanges, ...]:
        """Returns the ranges of all quantized weights, in graph order.

        Args:
            model: The float model as the plan knows it.
            plan: What is lowered.
        """
        found = []
        for node in model.graph:
            weight, name = _weight(node), str(node.name)
            if weight is None or name in plan.float_nodes:
                continue
            planned = plan.of(str(node.inputs[1].name), Use(name, 1))  # type: ignore[union-attr]
            before = self._before.get(name)
            now = _ranges(node, weight)
            if planned is None or (before is not None and before.shape != now.shape):
                continue
            after = _ranges(node, _as_quantized(node, weight, plan))
            per_channel = planned.spec.axis is not None
            found.append(WeightRanges(name, now if before is None else before, after, per_channel))
        return tuple(found)


def _weight(node: ir.Node) -> npt.NDArray[np.float32] | None:
    weight = weight_of(node.inputs[1]) if heavy(node) else None
    return None if weight is None or weight.ndim < 2 else weight


def _ranges(node: ir.Node, weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    axis = weight_channel_axis(node)
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return np.asarray(np.abs(weight).max(axis=others, initial=0.0), np.float32)


def _as_quantized(
    node: ir.Node, weight: npt.NDArray[np.float32], plan: QuantPlan
) -> npt.NDArray[np.float32]:
    """Returns a weight with the factors that the plan folds into it."""
    source = node.inputs[0]
    read = None if source is None else read_factors(node, plan.values.get(str(source.name)))
    writing = writing_of(node, plan)
    if read is not None:
        weight = weight * read
    if writing is not None:
        weight = weight * writing.factor.reshape(-1, *[1] * (weight.ndim - 1))
    return weight
