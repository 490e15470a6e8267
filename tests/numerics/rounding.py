"""What a value becomes by quantization, for tests of what takes the place of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.numerics.affine import dequantize, quantize

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["fake_quantize"]


def fake_quantize(
    x: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    zero_point: npt.NDArray[np.int32],
    limits: tuple[int, int],
    axis: int | None = None,
) -> npt.NDArray[np.float32]:
    """Returns ``x`` after quantization and dequantization; arguments as in ``quantize``."""
    return dequantize(quantize(x, scale, zero_point, limits, axis), scale, zero_point, axis)
