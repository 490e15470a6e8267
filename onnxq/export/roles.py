"""What constants are for, by who reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["role"]

_ROLES: Mapping[str, Mapping[int, str]] = {
    "BitShift": {1: "shift"},
    "Clip": {1: "bound", 2: "bound"},
    "ConvInteger": {1: "weight", 2: "zero point", 3: "zero point"},
    "DequantizeLinear": {1: "scale", 2: "zero point"},
    "Gather": {0: "table", 1: "places"},
    "MatMulInteger": {0: "weight", 1: "weight", 2: "zero point", 3: "zero point"},
    "Pad": {1: "fill"},
    "QLinearConv": {
        1: "scale", 2: "zero point", 3: "weight", 4: "scale", 5: "zero point", 6: "scale",
        7: "zero point", 8: "addend",
    },
    "QLinearMatMul": {
        0: "weight", 1: "scale", 2: "zero point", 3: "weight", 4: "scale", 5: "zero point",
        6: "scale", 7: "zero point",
    },
    "QuantizeLinear": {1: "scale", 2: "zero point"},
}  # fmt: skip
_ANYWHERE: Mapping[str, str] = {
    "Add": "addend",
    "Div": "divisor",
    "Max": "bound",
    "Min": "bound",
    "Mul": "multiplier",
    "Sub": "addend",
}


def role(operator: str, position: int) -> str:
    """Returns what a constant input is: weight, multiplier, shift, table, bound and so on."""
    return _ROLES.get(operator, {}).get(position) or _ANYWHERE.get(operator, "constant")
