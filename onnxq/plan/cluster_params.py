"""Params around values whose channels are split: of clusters, of sums, of what is written there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.affine import affine_params
from onnxq.numerics.channel_ranges import roomy_ranges
from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import PerAxis, PerTensor, QParams, QuantSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from onnxq.numerics.statistics import ValueStats
    from onnxq.plan.channels import Writing
    from onnxq.plan.spec import IntType

    Array = npt.NDArray[np.float64]

__all__ = ["covering", "sum_plan", "with_channel_scales", "with_one_scale"]


def covering(low: Array, high: Array, dtype: IntType) -> QParams:
    """Returns one scale and zero point for all ranges, float64 [n] each."""
    limits = dtype.qmin, dtype.qmax
    return QParams(*affine_params(low.min(), high.max(), limits), method="minmax")


def with_channel_scales(planned: ValuePlan, stats: ValueStats) -> ValuePlan:
    """Returns a plan with a scale per channel for what float nodes alone read."""
    assert stats.channels is not None, "values that convolutions write have channels"
    limits = planned.spec.dtype.qmin, planned.spec.dtype.qmax
    params = QParams(*affine_params(*roomy_ranges(stats.channels), limits), method="minmax")
    return ValuePlan(replace(planned.spec, granularity=PerAxis(1)), params)


def with_one_scale(planned: ValuePlan, stats: ValueStats) -> ValuePlan:
    """Returns a plan with one scale, which covers what was seen."""
    low, high = np.array([stats.minimum]), np.array([stats.maximum])
    spec = replace(planned.spec, granularity=PerTensor())
    return ValuePlan(spec, covering(low, high, spec.dtype))


def sum_plan(
    ranges: Iterable[tuple[Array, Array]], writing: Writing | None, dtype: IntType
) -> ValuePlan:
    """Returns how the partial sums of a convolution are quantized, all with one scale.

    Args:
        ranges: Low and high of each sum in each output channel, [O] each, the one with the bias
            first.
        writing: How the convolution writes, if it writes scales per channel.
        dtype: Of the codes.
    """
    ends = [np.stack(pair) for pair in ranges]
    if writing is not None:
        ends = [pair * writing.factor for pair in ends]
        ends[0] = ends[0] + writing.offset
    low, high = (np.concatenate([pair[i] for pair in ends]) for i in (0, 1))
    return ValuePlan(QuantSpec(dtype, symmetric=False), covering(low, high, dtype))
