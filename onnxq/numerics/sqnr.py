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
        reference = wanted.astype(np.float64)
        # Infinities on both sides differ by what is no number, and so is the ratio then.
        with np.errstate(invalid="ignore"):
            self.signal += float(np.square(reference).sum())
            self.noise += float(np.square(reference - found).sum())

    @property
    def decibels(self) -> float:
        """10 · log10(signal / noise); infinite where nothing differs."""
        if not self.noise:
            return math.inf
        ratio = self.signal / self.noise
        return 10 * math.log10(ratio) if ratio else -math.inf
