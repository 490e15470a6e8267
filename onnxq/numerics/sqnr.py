"""Signal-to-quantization-noise ratio, added up over samples.

SQNR = 10 · log10(Σ wanted² / Σ (wanted - found)²)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["SqnrSum"]


_BLOCK = 8192


class SqnrSum:
    """Adds up signal and noise over samples.

    Attributes:
        signal: Sum of the reference's squares.
        noise: Sum of the differences' squares.
    """

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        """Adds one sample; both arrays have one shape."""
        flat, other = wanted.reshape(-1), found.reshape(-1)
        # Block by block in memory that stays warm: several times as fast as with large arrays.
        room = np.empty((2, min(_BLOCK, flat.size)))
        # Infinities on both sides differ by what is no number, and so is the ratio then.
        with np.errstate(invalid="ignore"):
            for start in range(0, flat.size, _BLOCK):
                part = flat[start : start + _BLOCK]
                reference, noise = room[:, : part.size]
                np.copyto(reference, part, casting="unsafe")
                np.subtract(reference, other[start : start + _BLOCK], out=noise)
                self.signal += float(np.square(reference, out=reference).sum())
                self.noise += float(np.square(noise, out=noise).sum())

    @property
    def decibels(self) -> float:
        """10 · log10(signal / noise); infinite where nothing differs."""
        if not self.noise:
            return math.inf
        ratio = self.signal / self.noise
        return 10 * math.log10(ratio) if ratio else -math.inf
