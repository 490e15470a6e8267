"""A quantized model whose scales and zero points can be told apart by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.query import is_op, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

    Simulate = Callable[[ir.Model, QuantPlan], "Simulation"]

__all__ = ["Conditions", "Simulation"]

_BOUNDS = {"Relu": (0.0, np.inf), "Clip": (-np.inf, np.inf)}


@dataclass(frozen=True, eq=False)
class Simulation:
    """What the simulate lowering makes of a plan.

    Attributes:
        model: The quantized model that would be written, but that every constant that a range
            decides has a name of its own, which says what it is.
        params: Name → array of these constants.
        weights: Names of those that a weight or a bias is made of. Where onnxruntime computes with
            one beforehand, another one needs another model.
    """

    model: ir.Model
    params: Mapping[str, npt.NDArray[Any]]
    weights: frozenset[str] = frozenset()


class Conditions:
    """What onnxruntime asks of scales and zero points before it fuses; noted once, then checked.

    1. A Relu or Clip vanishes into a QuantizeLinear that saturates where it does.
    2. An operator that only moves numbers runs on codes where both sides have the same params.

    While the answers stay the same, so does the optimized graph.
    """

    def __init__(self, simulation: Simulation) -> None:
        """Notes what there is to ask of a quantized model."""
        self._saturating: list[tuple[str, str, float, float]] = []
        self._equal: list[tuple[str, str, str, str]] = []
        names = set(simulation.params)
        for node in simulation.model.graph:
            params = _params_of(node)
            if node.op_type != "QuantizeLinear" or params is None or not names.issuperset(params):
                continue
            source = node.inputs[0].producer() if node.inputs[0] is not None else None
            if source is None:
                continue
            if is_op(source, *_BOUNDS):
                self._saturating.append((*params, *_bounds(source)))
            for other in _dequantized(source):
                if names.issuperset(other):
                    self._equal.append((*other, *params))

    def of(self, params: Mapping[str, npt.NDArray[Any]]) -> tuple[bool, ...]:
        """Returns the answers for these params."""
        answers = [
            _saturates(params[scale], params[zero], low, high)
            for scale, zero, low, high in self._saturating
        ]
        answers += [
            np.array_equal(params[s], params[t]) and np.array_equal(params[z], params[y])
            for s, z, t, y in self._equal
        ]
        return tuple(answers)


def _params_of(node: ir.Node) -> tuple[str, str] | None:
    """Returns the names of the scale and the zero point of a Q or DQ node."""
    inputs = node.inputs[1:3]
    if len(inputs) < 2 or any(value is None for value in inputs):
        return None
    scale, zero = inputs
    return str(scale.name), str(zero.name)  # type: ignore[union-attr]


def _dequantized(node: ir.Node) -> Iterator[tuple[str, str]]:
    """Yields the params of the DequantizeLinear nodes that a node reads."""
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None and producer.op_type == "DequantizeLinear":
            params = _params_of(producer)
            if params is not None:
                yield params


def _bounds(node: ir.Node) -> tuple[float, float]:
    bounds = list(_BOUNDS[node.op_type])
    for at, value in enumerate(node.inputs[1:3]):
        limit = weight_of(value)
        bounds[at] = bounds[at] if limit is None else float(limit)
    return bounds[0], bounds[1]


def _saturates(
    scale: npt.NDArray[np.float32], zero_point: npt.NDArray[np.integer], low: float, high: float
) -> bool:
    if scale.ndim:
        return False
    info, zero = np.iinfo(zero_point.dtype), int(zero_point)
    below = not np.isfinite(low) or round(low / float(scale)) + zero <= info.min
    return below and (not np.isfinite(high) or round(high / float(scale)) + zero >= info.max)
