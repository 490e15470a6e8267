"""A layer whose codes, scales and bias gradient descent moves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.on_disk import kept
from onnxq.graph.query import weight_of
from onnxq.graph.weight_rows import to_rows
from onnxq.numerics.flex_codes import FlexCodes
from onnxq.numerics.learned import LearnedShift
from onnxq.numerics.soft_codes import SoftCodes
from onnxq.plan.bias_codes import least_weight_scale
from onnxq.plan.channels import read_factors
from onnxq.plan.pair_limit import pair_limit
from onnxq.plan.spec import QParams
from onnxq.plan.weight_codes import code_limits
from onnxq.search.written_layer import layer_floats

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.learned import Learned
    from onnxq.numerics.statistics import Stats
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.plan.spec import QuantSpec
    from onnxq.plan.target import Target
    from onnxq.search.coded_layer import CodedLayer
    from onnxq.search.written_layer import WrittenNames

    Single = npt.NDArray[np.float32]

__all__ = ["METHODS", "LearnedLayer", "bias_floor", "rounding_limits"]

METHODS = ("adaround", "flexround")
"""Names of the ways in which codes move: to neighbours, or by a divisor of each weight."""


class LearnedLayer:
    """See the module.

    Attributes:
        moving: (names of initializers of the quantized model, what moves) each: the weight, and the
            bias where there is one.

    Args:
        layer: A layer of the float model.
        names: Of its weight and its bias in the quantized model.
        plan: What to start from.
        target: Whose kernels will run it.
        stats: Of the float model's values.
        method: One of :data:`METHODS`.
    """

    def __init__(  # noqa: PLR0913 (a layer, its plan, and what else bounds it)
        self,
        layer: CodedLayer,
        names: WrittenNames,
        plan: QuantPlan,
        target: Target,
        stats: Stats | None,
        method: str,
    ) -> None:
        node, start = layer.node, layer_floats(layer, plan)
        x = layer.read_by(plan)
        factors = read_factors(node, x)
        wanted = layer.weight if factors is None else layer.weight * factors
        limits = rounding_limits(layer.plan.spec, pair_limit(node, target))
        self._layer, self._start, self._method = layer, start, method
        self._codes: SoftCodes | FlexCodes
        if method == "flexround":
            least = _least_factor(node, x, start.scale)
            self._codes = FlexCodes(start.codes, start.step, wanted / start.scale, limits, least)
        else:
            self._codes = SoftCodes(start.codes, start.step, wanted / start.scale, limits)
        self.moving: list[tuple[tuple[str, ...], Learned]] = [((names.weight,), self._codes)]
        self._bias: LearnedShift | None = None
        if start.bias is not None and names.bias is not None:
            unit = _output_size(node, start.weight, stats)
            self._bias = LearnedShift(start.bias, unit)
            self.moving.append(((names.bias,), self._bias))

    def taken(self, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with what was learned."""
        node, start = self._layer.node, self._start
        planned = self._layer.weight_in(plan)
        assert planned.params is not None
        scale = (start.scale * self._codes.scale_factor()).reshape(planned.params.scale.shape)
        params = QParams(np.asarray(scale, np.float32), planned.params.zero_point, self._method)
        codes = kept(self._codes.codes())
        plan = self._layer.with_weight(plan, replace(planned, params=params, codes=codes))
        if self._bias is None or start.bias is None:
            return plan
        moved = (self._bias.value() - start.bias) / start.factor
        before = plan.bias_shift.get(str(node.name), np.float32(0))
        shift = np.asarray(before + moved, np.float32)
        return replace(plan, bias_shift={**plan.bias_shift, str(node.name): shift})


def rounding_limits(spec: QuantSpec, pair: int | None) -> tuple[int, int]:
    """Returns the least and the greatest code of which two, if ``pair`` says so, fit together."""
    low, high = code_limits(spec)
    return (low, high) if pair is None else (max(low, -(pair // 2)), min(high, pair // 2))


def bias_floor(node: ir.Node, x: ValuePlan | None) -> npt.NDArray[np.float32] | None:
    """Returns the least scale of each output's weights with which the bias fits, float32 [n].

    Args:
        node: A layer.
        x: Plan of its input.

    Returns:
        None where no scale is too small.
    """
    bias = weight_of(node.inputs[2]) if len(node.inputs) > 2 else None
    return None if bias is None or x is None else least_weight_scale(bias.reshape(-1), x)


def _least_factor(node: ir.Node, x: ValuePlan | None, scale: Single) -> Single:
    """Returns how far scales may fall at least, of their shape."""
    floor = bias_floor(node, x)
    if floor is None:
        return np.zeros_like(scale)
    least = floor.reshape(scale.shape) if scale.size > 1 else floor.max()
    return np.asarray(least / scale, np.float32)


def _output_size(node: ir.Node, weight: Single, stats: Stats | None) -> Single:
    """Returns roughly what an output amounts to, float32 [outputs]."""
    rows = to_rows(node, weight)
    size = np.sqrt((rows * rows).sum(axis=2)).reshape(-1)
    name = str(node.inputs[0].name)  # type: ignore[union-attr]
    read = np.sqrt(stats[name].second_moment) if stats is not None and name in stats else 1.0
    return np.asarray(size * read, np.float32)
