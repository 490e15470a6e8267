"""What a quantization is: integer type, granularity, and the parameters that were chosen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from onnxq.errors import PlanError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "Granularity",
    "IntType",
    "PerAxis",
    "PerBlock",
    "PerTensor",
    "QParams",
    "QuantSpec",
]

_TYPE_NAME = re.compile(r"(u?)int(\d{1,2})")


@dataclass(frozen=True, slots=True)
class IntType:
    """An integer type of any width from 2 to 32 bits, such as ``uint8`` or ``int3``."""

    bits: int
    signed: bool

    @classmethod
    def parse(cls, name: str) -> Self:
        """Returns the type called ``name`` ("uint8", "int4"); raises PlanError on another name."""
        match = _TYPE_NAME.fullmatch(name)
        if match is None or not 2 <= int(match[2]) <= 32:
            raise PlanError(f"'{name}' is no integer type; use int2 … int16 or uint2 … uint16")
        return cls(bits=int(match[2]), signed=not match[1])

    @property
    def qmin(self) -> int:
        """The least code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """The greatest code."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def middle(self) -> int:
        """The code that stands for 0 where the zero point is fixed."""
        return 0 if self.signed else 1 << (self.bits - 1)

    @property
    def storage(self) -> np.dtype[np.integer]:
        """The narrowest numpy integer type that holds every code."""
        width = next(w for w in (8, 16, 32) if self.bits <= w)
        return np.dtype(f"{'' if self.signed else 'u'}int{width}")

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bits}"


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One scale and zero point for all elements."""


@dataclass(frozen=True, slots=True)
class PerAxis:
    """One scale and zero point per index of ``axis``: [O, I, h, w] with axis 0 has O of them."""

    axis: int


@dataclass(frozen=True, slots=True)
class PerBlock:
    """One scale and zero point per ``size`` consecutive indices of ``axis``."""

    axis: int
    size: int


Granularity = PerTensor | PerAxis | PerBlock


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """The wish: how a value shall be stored.

    Attributes:
        dtype: Integer type of the codes.
        symmetric: Zero point fixed at 0 (signed) or the middle of the range (unsigned), and codes
            limited to [-qmax, qmax] for signed types of 8 bits and more.
        granularity: Which elements share a scale.
    """

    dtype: IntType
    symmetric: bool
    granularity: Granularity = PerTensor()

    @property
    def axis(self) -> int | None:
        """The axis that one scale per index runs along; None for one scale, or blocks."""
        return self.granularity.axis if isinstance(self.granularity, PerAxis) else None


@dataclass(frozen=True, slots=True, eq=False)
class QParams:
    """The answer: scale and zero point, and how they were found.

    Attributes:
        scale: float32, [] per tensor or [n] per axis; positive. Copied and made read-only.
        zero_point: int32, the shape of ``scale``. Copied and made read-only.
        method: Name of the method that chose them ("minmax", "mse" …).
        p: Exponent of the Lp metric, where one was used.
        error: Mean error of that metric on the calibration data, in the value's own units.
        gain: Share by which choosing them lowered the loss at the outputs, on samples that did not
            choose; None where they were not chosen there.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int32]
    method: str = ""
    p: float | None = None
    error: float | None = None
    gain: float | None = None

    def __post_init__(self) -> None:
        scale = np.array(self.scale, np.float32)
        zero_point = np.array(self.zero_point, np.int32)
        if scale.shape != zero_point.shape:
            raise PlanError(
                f"scale has shape {scale.shape} but zero point {zero_point.shape}; make them equal"
            )
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise PlanError("a scale is not a positive finite number; check the calibration data")
        for array in (scale, zero_point):
            array.flags.writeable = False
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "zero_point", zero_point)

    def same_as(self, other: QParams) -> bool:
        """Returns whether both describe the same map from codes to reals."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(
            self.zero_point, other.zero_point
        )
