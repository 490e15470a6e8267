"""The ranges of a plan, how they were found, and what choosing them gained at the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.report.units import percent_text

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["HEADS", "QuantRange", "cells", "chosen", "quant_ranges"]

HEADS = ("value", "type", "range", "method", "error", "gain")
"""What :func:`cells` shows."""


@dataclass(frozen=True, slots=True)
class QuantRange:
    """The range of a value, and how it was found.

    Attributes:
        value: Its name.
        dtype: Type of its codes.
        low: The least real that has a code, of all channels.
        high: The greatest.
        method: What found it.
        p: Exponent of the error that was minimized; None where none was.
        error: Mean error on the calibration data, in the value's own units; None = not measured,
            or no number.
        gain: Share by which choosing it lowered the loss at the outputs, on samples that did not
            choose; None where it was not chosen there.
    """

    value: str
    dtype: str
    low: float
    high: float
    method: str
    p: float | None
    error: float | None
    gain: float | None


def quant_ranges(plan: QuantPlan) -> list[QuantRange]:
    """Returns the ranges of all activations, and of the weights that were chosen at the outputs.

    Other weights are symmetric, and their error is not measured.
    """
    return [
        _range(name, planned)
        for name, planned in plan.values.items()
        if planned.params is not None
        and (not planned.spec.symmetric or {planned.params.error, planned.params.gain} != {None})
    ]


def chosen(plan: QuantPlan) -> list[QuantRange]:
    """Returns those that were chosen at the outputs, the greatest gain first."""
    found = [one for one in quant_ranges(plan) if one.gain is not None]
    return sorted(found, key=lambda one: -(one.gain or 0.0))


def cells(one: QuantRange) -> tuple[str, ...]:
    """Returns a range as text, a cell for each of :data:`HEADS`."""
    return (
        one.value,
        one.dtype,
        f"{one.low:.4g} … {one.high:.4g}",
        one.method if one.p is None else f"{one.method}, p {one.p:g}",
        "" if one.error is None else f"{one.error:.3g}",
        "" if one.gain is None else percent_text(one.gain),
    )


def _range(name: str, planned: ValuePlan) -> QuantRange:
    params, dtype = planned.params, planned.spec.dtype
    assert params is not None
    scale = params.scale.astype(np.float64)
    return QuantRange(
        name,
        str(dtype),
        float(((dtype.qmin - params.zero_point) * scale).min()),
        float(((dtype.qmax - params.zero_point) * scale).max()),
        params.method,
        params.p,
        params.error if params.error is not None and math.isfinite(params.error) else None,
        params.gain,
    )
