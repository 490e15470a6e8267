"""Histograms of values with the ranges that were chosen, and ranges of weights.

They are data: the page draws one when it is asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.report.ranges import quant_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from onnxq.numerics.statistics import Stats, ValueStats
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.spec import QParams
    from onnxq.report.evidence import WeightRanges
    from onnxq.report.ranges import QuantRange

__all__ = ["evenness", "histograms", "weight_ranges"]

_BINS = 128
_CHANNELS = 256


def histograms(stats: Stats, plan: QuantPlan) -> list[dict[str, Any]]:
    """Returns what the page needs to draw the observed values, in graph order.

    Keys: ``name``; ``start`` and ``width`` of the bins, ``counts`` in them, ``zeros`` exactly zero;
    ``min``, ``max``, ``mean``, ``std`` of all elements; for quantized values ``range`` (two ends),
    ``type``, ``method``, ``scales`` (how many) and ``outside`` (share beyond the range).
    """
    ranges = {one.value: one for one in quant_ranges(plan)}
    found = []
    for name, value in stats.values.items():
        planned = plan.values.get(name)
        drawn = _drawn(name, value)
        if planned is not None and planned.params is not None and name in ranges:
            drawn |= _chosen(value, ranges[name], planned.params)
        found.append(drawn)
    return found


def _drawn(name: str, value: ValueStats) -> dict[str, Any]:
    bins = value.histogram.coarser(_BINS)
    numbers = (value.minimum, value.maximum, value.mean, value.std)
    return {
        "name": name,
        "start": -bins.below * bins.width,
        "width": bins.width,
        "counts": bins.counts.tolist(),
        "zeros": bins.zeros,
        **{key: _short(x) for key, x in zip(("min", "max", "mean", "std"), numbers, strict=True)},
    }


def _chosen(value: ValueStats, chosen: QuantRange, params: QParams) -> dict[str, Any]:
    half, seen = float(params.scale.max()) / 2, value.histogram
    outside = seen.share_below(chosen.low - half) + 1 - seen.share_below(chosen.high + half)
    return {
        "range": [_short(chosen.low), _short(chosen.high)],
        "type": chosen.dtype,
        "method": chosen.method if chosen.p is None else f"{chosen.method}, p = {chosen.p:g}",
        "scales": int(params.scale.size),
        "outside": _short(outside),
    }


def weight_ranges(weights: Iterable[WeightRanges]) -> list[dict[str, Any]]:
    """Returns what the page needs to draw the channels of weights, the largest first.

    Keys: ``name``, ``channels`` (how many there are), ``before`` and ``after`` (of at most 256 of
    them, evenly spread), ``even`` (:func:`evenness` before and after), ``perChannel`` (whether each
    has a scale of its own).
    """
    found = []
    for weight in weights:
        order = np.argsort(-weight.before, kind="stable")
        if order.size > _CHANNELS:
            order = order[np.linspace(0, order.size - 1, _CHANNELS).round().astype(np.int64)]
        found.append(
            {
                "name": weight.node,
                "channels": int(weight.before.size),
                "before": [_short(x) for x in weight.before[order].tolist()],
                "after": [_short(x) for x in weight.after[order].tolist()],
                "perChannel": weight.per_channel,
                "even": [_short(evenness(weight.before)), _short(evenness(weight.after))],
            }
        )
    return found


def evenness(ranges: npt.NDArray[np.float32]) -> float:
    """Returns the mean range of a channel as a share of the largest: 1 = all alike.

    What Nagel et al. 2019 (section 4.1) call the precision of a channel, averaged.
    """
    largest = float(ranges.max(initial=0.0))
    return float(ranges.mean()) / largest if largest else 1.0


def _short(number: float) -> float:
    """Four digits are more than a pixel."""
    return float(f"{number:.4g}")
