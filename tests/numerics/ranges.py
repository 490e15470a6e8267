"""What tests of range fitting share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.range_error import RangeProblem, error_function

if TYPE_CHECKING:
    import numpy.typing as npt


def leaky(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(x < 0, 0.1 * x, x)


def silu(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(x / (1 + np.exp(-x)))


def error_of(problem: RangeProblem, p: float, low: float, high: float) -> float:
    return float(error_function(problem, p)(np.array([low]), np.array([high]))[0])
