"""Weights that cannot saturate 16-bit pair sums.

x86 machines without VNNI multiply unsigned activations with signed weights and add neighbouring
products in 16 bits with saturation: x₀w₀ + x₁w₁ must stay within ±32767. With x up to x_max this
holds for every input when the positive and the negative part of w₀ + w₁ each stay within
bound / x_max. Neighbours are the elements 2j and 2j + 1 of a row in the order in which the kernel
reads it: for convolutions (kernel row, kernel column, input channel).

A row that exceeds the limit gets a larger scale (coarser codes), a few codes moved to the limit, or
both: the factor f minimises

    f² · K · s² / 12  +  2 · Σ over pairs  max(0, P / f - L)² · s² · f²

which is the expected rounding error plus the error of the moved pairs, with s the row's scale, P a
pair's sum in codes and L the limit. Moved pairs count four times: behind Relu activations have one
sign, so that errors that all point towards zero do not cancel as rounding errors do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["kernel_rows", "limit_pairs", "pair_excess", "pair_scale_factor"]

_FACTORS = np.linspace(1.0, 2.0, 41)
_LARGEST = 64


def kernel_rows(weight: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Returns a convolution's weight [O, I, *kernel] as rows [O, K] in the kernel's own order."""
    return np.moveaxis(weight, 1, -1).reshape(weight.shape[0], -1)


def _paired(rows: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if rows.shape[1] % 2:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    return rows.reshape(rows.shape[0], -1, 2)


def _sums(rows: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Returns the greater magnitude of each pair's positive and negative sum, float64 [O, K/2]."""
    pairs = _paired(rows).astype(np.float64)
    positive, negative = np.maximum(pairs, 0).sum(-1), np.maximum(-pairs, 0).sum(-1)
    return np.asarray(np.maximum(positive, negative), np.float64)


def pair_excess(codes: npt.NDArray[np.integer], limit: int) -> npt.NDArray[np.float64]:
    """Returns by how much the worst pair of each row exceeds ``limit``, float64 [O], 0 if none.

    Args:
        codes: Integers [O, K] in the kernel's order.
        limit: Greatest sum of two weights of equal sign.
    """
    return np.asarray(np.maximum(_sums(codes).max(axis=1, initial=0.0) - limit, 0), np.float64)


def pair_scale_factor(
    rows: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], limit: int
) -> npt.NDArray[np.float64]:
    """Returns by which factor (1 to 2) to raise the scale of each row.

    Args:
        rows: float32 weights [O, K] in the kernel's order.
        scale: float32 [O], or [] for one scale; then all rows get the same factor.
        limit: Greatest sum of two weights of equal sign, in codes.

    Returns:
        float64, the shape of ``scale``.
    """
    steps = np.broadcast_to(np.asarray(scale, np.float64), rows.shape[:1])
    sums = _sums(rows) / steps[:, None]
    if sums.shape[1] > _LARGEST:
        sums = np.partition(sums, -_LARGEST, axis=1)[:, -_LARGEST:]
    factors = _FACTORS[:, None, None]
    moved = np.maximum(sums[None] / factors - limit, 0) ** 2
    errors = factors[..., 0] ** 2 * (rows.shape[1] / 12 + 2 * moved.sum(-1)) * steps**2
    if np.ndim(scale) == 0:
        return np.asarray(_FACTORS[errors.sum(axis=1).argmin()])
    return np.asarray(_FACTORS[errors.argmin(axis=0)], np.float64)


def limit_pairs(codes: npt.NDArray[np.int32], limit: int) -> npt.NDArray[np.int32]:
    """Returns ``codes`` with every pair's sum moved to ``limit`` where it exceeds it.

    Both members give up half the excess each, the first the odd unit; a member too small for its
    half gives all it has.

    Args:
        codes: int32 [O, K] in the kernel's order.
        limit: Greatest sum of two weights of equal sign.
    """
    pairs = _paired(codes).astype(np.int32)
    size, sign = np.abs(pairs), np.sign(pairs)
    together = sign[..., 0] * sign[..., 1] > 0
    excess = np.where(together, np.maximum(size.sum(-1) - limit, 0), 0)
    first = np.clip((excess + 1) // 2, excess - size[..., 1], size[..., 0])
    size[..., 0] -= first
    size[..., 1] -= excess - first
    bounded = (sign * size).reshape(codes.shape[0], -1)
    return np.asarray(bounded[:, : codes.shape[1]], np.int32)
