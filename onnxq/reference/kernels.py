"""The table of kernels: operator → how its outputs are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.reference import (
    arithmetic,
    convolution,
    indexing,
    linear,
    logic,
    pooling,
    quantization,
    reduction,
    resampling,
    shape,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.reference.call import Kernel

__all__ = ["KERNELS"]

KERNELS: Mapping[str, Kernel] = {
    **arithmetic.KERNELS,
    **convolution.KERNELS,
    **indexing.KERNELS,
    **linear.KERNELS,
    **logic.KERNELS,
    **pooling.KERNELS,
    **quantization.KERNELS,
    **reduction.KERNELS,
    **resampling.KERNELS,
    **shape.KERNELS,
}
"""Kernels of standard operators, by name."""
