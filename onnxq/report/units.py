"""Numbers with units, for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["array_text", "bytes_text", "count_text", "percent_text"]


def array_text(array: npt.NDArray[Any]) -> str:
    """Returns element type and shape of an array: ``float32[1,3,224,224]``."""
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"


def bytes_text(number: int) -> str:
    """Returns a number of bytes with three digits and a decimal prefix: ``12.3 MB``."""
    text = count_text(number)
    return f"{text}B" if " " in text else f"{text} B"


def count_text(number: float) -> str:
    """Returns ``number`` with three digits and a decimal prefix: ``12.3 M``."""
    for factor, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor * 0.9995:
            return f"{_three_digits(number / factor)}{prefix}"
    return f"{number:.0f}"


def percent_text(share: float) -> str:
    """Returns a share in [0, 1] as ``97.3 %``; only what is complete reads ``100 %``."""
    percent = share * 100
    if percent in (0, 100):
        return f"{percent:.0f} %"
    return f"{min(max(percent, 0.1), 99.9):.1f} %"


def _three_digits(number: float) -> str:
    return f"{number:.{max(0, 2 - int(math.log10(max(number, 1)) + 1e-9))}f}"
