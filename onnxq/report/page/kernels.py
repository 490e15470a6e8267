"""Time by operator, float and quantized side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.runtime.kernel_times import operator_times

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnxq.runtime.kernel_times import KernelTime, OperatorTime

__all__ = ["Bars", "operator_bars"]


class Bar(NamedTuple):
    """One operator of one model.

    Attributes:
        op: Its kernel.
        kernels: How many nodes run it.
        milliseconds: Of one run.
        percent: Length of its bar; the longest of both models is 100.
    """

    op: str
    kernels: int
    milliseconds: float
    percent: float


class Bars(NamedTuple):
    """One model's operators.

    Attributes:
        name: What the model is called.
        total: Milliseconds of all kernels.
        rows: The longest first.
    """

    name: str
    total: float
    rows: list[Bar]


def operator_bars(real: Iterable[KernelTime], quantized: Iterable[KernelTime]) -> list[Bars]:
    """Returns both models' operators, with bars on one scale."""
    sides = {"float": operator_times(real), "quantized": operator_times(quantized)}
    longest = max((row.milliseconds for rows in sides.values() for row in rows), default=0.0)
    return [_bars(name, rows, longest or 1.0) for name, rows in sides.items()]


def _bars(name: str, rows: list[OperatorTime], longest: float) -> Bars:
    bars = [Bar(r.op, r.kernels, r.milliseconds, 100 * r.milliseconds / longest) for r in rows]
    return Bars(name, sum(row.milliseconds for row in rows), bars)
