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
        self.signal += float(np.square(reference).sum())
        self.noise += float(np.square(reference - found).sum())

    @property
    def decibels(self) -> float:
        """10 · log10(signal / noise); infinite where nothing differs."""
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf
