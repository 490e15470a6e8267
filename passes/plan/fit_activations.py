"""Scale and zero point of every planned activation, from the statistics.

1. Values that share params (groups) are fitted on their merged statistics.
2. A value that only Sigmoid, SiLU, HardSwish or LeakyRelu reads has its error measured behind that
   function: a far negative tail is worth nothing there.
3. Sigmoid's output is [0, 1] by definition, and so is its range: the greatest code is exactly 1, so
   that a gate which is open passes all.
4. A value behind an absorbed Relu or Clip stays within its bounds, so that quantization saturates
   as the operator would.
5. A value in front of HardSwish gets scale 3/k with zero point ≥ k where that is possible: then the
   function is exact on codes.
6. A value with a scale per channel covers each channel's own range where float nodes read it, with
   room for what the samples do not show (``onnxq.numerics.channel_ranges``); behind a Sigmoid no
   more than ±:data:`_LOGIT`, where it is within 0.0001 of 0 or 1. Where convolutions read it, the
   scales balance its noise against theirs (``onnxq.numerics.channel_scales``), and all channels
   share one zero point. With fewer than 8 bits they cover 0.8 of a channel's range: measured at
   W4A4, covering 1, 0.85, 0.75 and 0.65 of it, SqueezeNet 76.2, 80.2, 83.0 and 79.8 % agreement,
   FastestDet 58.4, 60.3, 61.1 and 56.3 % of boxes, UltraFace 88.6, 89.6, 86.9 and 80.2 %.
7. Where the target's zero point is fixed, the range is as wide on both sides of 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onnxq.calibration_method import CALIBRATION_METHODS, CalibrationMethod
from onnxq.errors import ConfigError
from onnxq.graph.roles import attribute, conv_kind
from onnxq.numerics.affine import affine_params, symmetric_scale
from onnxq.numerics.channel_ranges import roomy_ranges
from onnxq.numerics.channel_scales import Reader, channel_scales
from onnxq.numerics.range_search import (
    FittedRange,
    RangeProblem,
    kl,
    lp,
    minmax,
    percentile,
    stretched,
)
from onnxq.pass_options import PassOption
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.obstacles import clip_bounds
from onnxq.plan.spec import PerAxis, QParams
from onnxq.plan.weight_codes import code_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.statistics import Stats, ValueStats
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

    Function = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]

__all__ = ["FitActivations"]

_HARD_SWISH_KNEE = 3.0
_LOGIT = 9.0
_MOVING = ("Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
_WEIGHT_QMAX = 127
_FEW_BITS = 8
# Of each channel's range: with few codes, its far end is not worth steps as large.
_COVERED_BY_FEW_BITS = 0.8


def sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns 1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)


def _silu(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(x * sigmoid(x), np.float64)


def _hard_swish(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(x * np.clip(x / 6 + 0.5, 0, 1), np.float64)


def _function_behind(value: ir.Value) -> Function | None:
    """Rule 2: the function through which all readers see ``value``, if there is one."""
    readers = {user.op_type for user in value.consumers()}
    if value.is_graph_output():
        return None
    if readers == {"Sigmoid"}:
        return sigmoid
    if readers == {"Sigmoid", "Mul"} and _is_silu(value):
        return _silu
    if readers == {"HardSwish"}:
        return _hard_swish
    if readers == {"LeakyRelu"} and len(value.consumers()) == 1:
        slope = float(attribute(value.consumers()[0], "alpha", 0.01))
        return lambda x: np.where(x > 0, x, slope * x)
    return None


def _is_silu(value: ir.Value) -> bool:
    gates = [user.outputs[0] for user in value.consumers() if user.op_type == "Sigmoid"]
    products = [user for user in value.consumers() if user.op_type == "Mul"]
    return all(any(gate in product.inputs for gate in gates) for product in products)


def _method(value: object) -> str | None:
    """Reads a method in a pipeline file."""
    try:
        return None if CalibrationMethod.parse(str(value)).searches else str(value)
    except ConfigError:
        return None


@dataclass(frozen=True)
class FitActivations(PlanPass):
    """Gives every planned activation its params.

    Attributes:
        method: As :class:`~onnxq.calibration_method.CalibrationMethod` reads it, such as "mse".
        stretch: By how much to widen what the method finds.
        found: Ranges by the codes and the names of the values that share them; a plan made anew
            for the same statistics need not search them again.
    """

    name = "fit-activations"
    options = MappingProxyType({"method": PassOption(CALIBRATION_METHODS, _method)})
    after = frozenset({"leave-unseen", "share-params"})

    method: str = "mse"
    stretch: float = 1.0
    found: dict[tuple[object, ...], FittedRange] = field(
        default_factory=dict, repr=False, compare=False
    )

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with the params of all planned values that have statistics."""
        stats = context.stats
        assert stats is not None, "the pipeline fits ranges only where there is data"
        graph = context.model.graph
        values = {
            str(value.name): value
            for value in [*graph.inputs, *(out for node in graph for out in node.outputs)]
        }
        fitted: dict[str, ValuePlan] = {}
        for name in plan.values:
            if name not in values or name in fitted:
                continue
            members = [n for n in sorted(plan.group_of(name)) if n in plan.values]
            if any(member not in stats for member in members):
                continue
            params = self._params([values[n] for n in members], plan, stats)
            fitted.update({n: replace(plan.values[n], params=params) for n in members})
        return plan.with_values(fitted)

    def _params(self, members: list[ir.Value], plan: QuantPlan, stats: Stats) -> QParams:
        wish = plan.values[str(members[0].name)]
        limits, symmetric = code_limits(wish.spec), wish.spec.symmetric
        merged = _merged([stats[str(value.name)] for value in members])
        readers = [user for user in members[0].consumers() if user.op_type == "Conv"]
        bounds = _bounds(members)
        per_channel = isinstance(wish.spec.granularity, PerAxis)
        if per_channel and not readers:
            if _only_sigmoid_reads(members[0]):
                bounds = max(bounds[0], -_LOGIT), min(bounds[1], _LOGIT)
            return _for_float_readers(merged, bounds, limits)
        producers = {value.producer().op_type for value in members if value.producer()}  # type: ignore[union-attr]
        if "Sigmoid" in producers and len(producers) == 1 and not symmetric:
            return QParams(*affine_params(0.0, 1.0, limits), method="fixed")
        behind = _function_behind(members[0]) if len(members) == 1 else None
        problem = RangeProblem(merged, limits, symmetric, bounds, behind)
        key = id(stats), limits, symmetric, *(str(value.name) for value in members)
        found = self.found[key] = self.found.get(key) or self._search(problem)
        if self.stretch != 1:
            found = stretched(problem, found, self.stretch)
        if symmetric:
            middle = np.asarray(wish.spec.dtype.middle, np.int32)
            scale = symmetric_scale(max(-found.low, found.high), limits[1] - int(middle))
            return QParams(scale, middle, *self._measure(found))
        scale, zero_point = affine_params(found.low, found.high, limits)
        if behind is _hard_swish and not np.isfinite(bounds).any():
            scale, zero_point = _snapped(found, limits) or (scale, zero_point)
        params = QParams(scale, zero_point, *self._measure(found))
        params = _saturating(params, bounds, limits)
        if not per_channel:
            return params
        own = _own_scales(merged, float(params.zero_point), limits) * self.stretch
        own *= _COVERED_BY_FEW_BITS if wish.spec.dtype.bits < _FEW_BITS else 1.0
        return _for_convolutions([_reader(node, plan) for node in readers], merged, params, own)

    def _measure(self, found: FittedRange) -> tuple[str, float | None, float]:
        """Returns the method's name, its exponent, and the range's error."""
        method = CalibrationMethod.parse(self.method)
        return method.name, method.p, found.error

    def _search(self, problem: RangeProblem) -> FittedRange:
        method = CalibrationMethod.parse(self.method)
        if method.p is not None:
            return lp(problem, method.p)
        if method.name == "percentile":
            return percentile(problem, method.percent)
        return minmax(problem) if method.name == "minmax" else kl(problem)


def _merged(parts: list[ValueStats]) -> ValueStats:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def _bounds(members: list[ir.Value]) -> tuple[float, float]:
    """Rule 4: the tightest bounds of an absorbed operator in front of any member."""
    low, high = -np.inf, np.inf
    for value in members:
        producer = value.producer()
        if producer is not None and producer.op_type in ("Relu", "Clip"):
            a, b = clip_bounds(producer)
            low, high = max(low, a), min(high, b)
    return float(low), float(high)


def _snapped(
    found: FittedRange, limits: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]] | None:
    """Rule 5: scale 3/k, with the function's knees at -3 and 3 inside; None for wider ranges."""
    low, high = max(-found.low, _HARD_SWISH_KNEE), max(found.high, _HARD_SWISH_KNEE)
    codes = limits[1] - limits[0]
    steps = min(codes // 2, int(_HARD_SWISH_KNEE * codes / (low + high)))
    if steps < 1:
        return None
    scale = _HARD_SWISH_KNEE / steps
    zero = np.clip(np.rint(limits[0] + low / scale), limits[0] + steps, limits[1] - steps)
    return np.asarray(scale, np.float32), np.asarray(zero, np.int32)


def _saturating(params: QParams, bounds: tuple[float, float], limits: tuple[int, int]) -> QParams:
    """Rule 4: shrinks the scale until the extreme codes lie within the bounds."""
    zero, scale = int(params.zero_point), float(params.scale)
    if np.isfinite(bounds[1]) and zero < limits[1]:
        scale = min(scale, bounds[1] / (limits[1] - zero))
    if np.isfinite(bounds[0]) and bounds[0] < 0 and zero > limits[0]:
        scale = min(scale, -bounds[0] / (zero - limits[0]))
    return replace(params, scale=np.asarray(scale, np.float32))


def _only_sigmoid_reads(value: ir.Value) -> bool:
    """Whether all that becomes of ``value``, moved about or not, is the input of a Sigmoid."""
    return not value.is_graph_output() and all(
        user.op_type == "Sigmoid"
        or (user.op_type in _MOVING and all(_only_sigmoid_reads(out) for out in user.outputs))
        for user in value.consumers()
    )


def _for_float_readers(
    stats: ValueStats, bounds: tuple[float, float], limits: tuple[int, int]
) -> QParams:
    """Rule 6, first half: every channel its own range, with room, within ``bounds``."""
    channels = stats.channels
    assert channels is not None, "values with a scale per channel have rank 4"
    low, high = roomy_ranges(channels)
    low, high = np.maximum(low, bounds[0]), np.minimum(high, bounds[1])
    scale, zero_point = affine_params(low, high, limits)
    if not np.minimum(low, 0.0).any():
        zero_point = np.full_like(zero_point, limits[0])
    return QParams(scale, zero_point, "minmax")


def _own_scales(stats: ValueStats, zero: float, limits: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Returns the least scale that covers each channel, float64 [C]."""
    channels = stats.channels
    assert channels is not None, "values with a scale per channel have rank 4"
    above = np.maximum(channels.maximum, 0.0) / max(limits[1] - zero, 1.0)
    below = np.maximum(-channels.minimum, 0.0) / max(zero - limits[0], 1.0)
    return np.asarray(np.maximum(above, below if zero > limits[0] else 0.0), np.float64)


def _for_convolutions(
    readers: list[Reader], stats: ValueStats, found: QParams, own: npt.NDArray[np.float64]
) -> QParams:
    """Rule 6, second half; ``found`` is the best single scale and zero point."""
    channels = stats.channels
    assert channels is not None, "values with a scale per channel have rank 4"
    scale = channel_scales(float(found.scale), own, channels.second_moment, readers)
    zero_point = np.full(scale.shape, int(found.zero_point))
    return QParams(scale, zero_point, found.method, found.p, found.error)


def _reader(node: ir.Node, plan: QuantPlan) -> Reader:
    tensor = node.inputs[1]
    assert tensor is not None
    assert tensor.const_value is not None
    weight = np.asarray(tensor.const_value.numpy(), np.float32)
    taps = weight.reshape(*weight.shape[:2], -1)
    planned = plan.values.get(str(tensor.name))
    qmax = _WEIGHT_QMAX if planned is None else planned.spec.dtype.qmax
    return Reader(taps, conv_kind(node) == "depthwise", qmax=qmax)
