"""Kernel and conversion times of a target, as coefficients of measurable quantities.

A kernel's time is ``mac_ns`` · multiply-accumulates + ``output_ns`` · output elements +
``patch_ns`` · elements gathered (k·k·C_in per output position of a convolution, 0 for 1×1; the
right operand of a matrix product, which is read once however few the rows are) + ``call_us``. The
tables are made by ``tools/measure_costs.py`` and committed, so that decisions do not depend on the
machine that takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from onnxq.errors import TargetError

__all__ = ["CostTable", "KernelCost", "Work", "check_costs"]


@dataclass(frozen=True, slots=True)
class Work:
    """What one node does for one run.

    Attributes:
        macs: Multiply-accumulates.
        outputs: Output elements.
        patches: Elements gathered: output positions times k·k·C_in of a convolution, 0 for 1×1; the
            right operand of a matrix product.
    """

    macs: float = 0.0
    outputs: float = 0.0
    patches: float = 0.0


@dataclass(frozen=True, slots=True)
class KernelCost:
    """Coefficients of one kernel's time."""

    mac_ns: float = 0.0
    output_ns: float = 0.0
    patch_ns: float = 0.0
    call_us: float = 0.0

    def microseconds(self, work: Work) -> float:
        """Returns the estimated time of ``work`` in µs."""
        nanoseconds = (
            self.mac_ns * work.macs + self.output_ns * work.outputs + self.patch_ns * work.patches
        )
        return nanoseconds / 1e3 + self.call_us


_NAMES = {f.name for f in fields(KernelCost)}


_SIDES = ("float", "integer")
_CONVERSIONS = ("quantize", "dequantize")


def check_costs(where: str, costs: Mapping[str, Any]) -> None:
    """Raises TargetError, which names file and key, unless ``costs`` is a ``[costs]`` table."""
    for name in _CONVERSIONS:
        if name not in costs:
            raise TargetError(f"{where}: [costs.{name}] is missing; give it, or no costs at all")
    for kind, entry in costs.items():
        parts = {"": entry} if kind in _CONVERSIONS else entry
        if kind not in _CONVERSIONS and (
            not isinstance(entry, Mapping) or set(entry) != set(_SIDES)
        ):
            raise TargetError(f"{where}: [costs.{kind}] needs float = and integer =, no more")
        for side, kernel in parts.items():
            _check_kernel(where, f"{kind}.{side}".rstrip("."), kernel)


def _check_kernel(where: str, name: str, entry: object) -> None:
    if not isinstance(entry, Mapping):
        raise TargetError(f"{where}: [costs.{name}] must be a table")
    if unknown := set(entry) - _NAMES:
        raise TargetError(f"{where}: [costs.{name}] does not know {sorted(unknown)}")
    for key, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise TargetError(f"{where}: [costs.{name}] {key} must be a number from 0")


def _kernel(entry: Mapping[str, Any]) -> KernelCost:
    return KernelCost(**{key: float(value) for key, value in entry.items()})


@dataclass(frozen=True, slots=True)
class CostTable:
    """Times by kind of kernel.

    Attributes:
        integer: Kind ("dense", "depthwise", "Add" …) → the integer kernel's coefficients.
        real: The same for the float kernel.
        quantize: Float to integer at a region's border, layout change included.
        dequantize: Integer to float at a region's border.
    """

    integer: Mapping[str, KernelCost]
    real: Mapping[str, KernelCost]
    quantize: KernelCost
    dequantize: KernelCost

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Returns the table of a ``[costs]`` that :func:`check_costs` accepts."""
        kinds = {k: v for k, v in data.items() if k not in _CONVERSIONS}
        return cls(
            integer={k: _kernel(v["integer"]) for k, v in kinds.items()},
            real={k: _kernel(v["float"]) for k, v in kinds.items()},
            quantize=_kernel(data["quantize"]),
            dequantize=_kernel(data["dequantize"]),
        )

    def times(self, kind: str, work: Work) -> tuple[float, float]:
        """Returns (integer, float) µs of ``work``; kinds without an entry cost nothing."""
        free = KernelCost()
        return (
            self.integer.get(kind, free).microseconds(work),
            self.real.get(kind, free).microseconds(work),
        )
