"""Rounds weights so that a layer's output, not its weights, comes close to what it should be.

With H = E[x̂ x̂ᵀ] and target W' (:func:`least_squares_target`), codes q minimise, row by row,

    tr((s q − W') H (s q − W')ᵀ)

* :func:`gptq`: column by column, each error handed on to the columns that follow (Frantar et al.
  2022, "GPTQ", algorithm 1), columns in order of falling diagonal of H. That is Babai's nearest
  plane (Chen et al. 2025, "The Geometry of LLM Quantization"), which needs no inverse: with
  H = Uᵀ U and d = s q − W' of the columns k > i, the best real value of column i is
  W'_i − Σ_k U_ik d_k / U_ii.
* :func:`coordinate_descent`: every code in turn is set to the best value given all others, which
  never raises the error.
* :func:`fitted_scale`: the best s for given codes, in closed form.

Arrays have shape [G, O, K]: groups, outputs of a group, inputs of a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.numerics.damped import Damped
    from onnxq.numerics.grid import Grid

    Array = npt.NDArray[np.floating]

__all__ = ["coordinate_descent", "fitted_scale", "gptq", "least_squares_target", "output_error"]

_BLOCK = 64
_SETTLED = 1e-3


def least_squares_target(weight: Array, anchor: Array, damped: Damped, cross: Array) -> Array:
    """Returns W' = (W C + A Λ)(H + Λ)⁻¹: what undoes the errors in x̂ as far as a weight can.

    Λ, the damping, draws W' to A: directions that the samples do not show stay as they are.

    Args:
        weight: W, which x is multiplied with, [G, O, K].
        anchor: A, which x̂ would be multiplied with if it had no errors: W, or W times constants
            where x̂ is written in other units than x, [G, O, K].
        damped: H + Λ.
        cross: C = E[x x̂ᵀ], [G, K, K].
    """
    return damped.solve(weight @ cross + anchor * damped.added[:, np.newaxis])


def output_error(real: Array, target: Array, hessian: Array) -> Array:
    """Returns the squared error of each output that ``real`` leaves beyond W', [G, O]."""
    apart = np.asarray(real - target, hessian.dtype)
    return np.asarray(np.vecdot(apart @ hessian, apart))


def gptq(target: Array, damped: Damped, scale: Array, grid: Grid) -> npt.NDArray[np.int32]:
    """Returns codes, int32 [G, O, K].

    Args:
        target: W', [G, O, K].
        damped: H + Λ, [G, K, K].
        scale: s, [G, O, 1] or [G, O, K].
        grid: What codes can be.
    """
    order, factor = damped.order[:, :, np.newaxis], damped.factor
    # The columns of W' along axis 1; they are visited from the last to the first.
    wanted = np.take_along_axis(target.swapaxes(1, 2), order, axis=1)
    steps = np.take_along_axis(np.broadcast_to(scale, target.shape).swapaxes(1, 2), order, axis=1)
    pull = np.zeros_like(wanted)
    codes = np.empty(wanted.shape, np.int32)
    for start in reversed(range(0, wanted.shape[1], _BLOCK)):
        part = slice(start, start + _BLOCK)
        apart = _round_block(
            wanted[:, part],
            pull[:, part],
            steps[:, part],
            factor[:, part, part],
            codes[:, part],
            grid,
        )
        pull[:, :start] += factor[:, :start, part] @ apart
    found = np.empty_like(codes)
    np.put_along_axis(found, np.broadcast_to(order, codes.shape), codes, axis=1)
    return np.ascontiguousarray(found.swapaxes(1, 2))


def _round_block(  # noqa: PLR0913 (what is rounded, and how)
    wanted: Array,
    pull: Array,
    steps: Array,
    factor: Array,
    codes: npt.NDArray[np.int32],
    grid: Grid,
) -> Array:
    """Fills the codes of some columns, [G, B, O]; returns how far they are from W'.

    ``pull`` is used up.
    """
    apart = np.empty_like(wanted)
    diagonal = factor.diagonal(axis1=1, axis2=2)
    for at in reversed(range(wanted.shape[1])):
        free = wanted[:, at] - pull[:, at] / diagonal[:, at, np.newaxis]
        code = grid.nearest(free / steps[:, at])
        codes[:, at] = code
        apart[:, at] = code * steps[:, at] - wanted[:, at]
        pull[:, :at] += factor[:, :at, at, np.newaxis] * apart[:, at, np.newaxis]
    return apart


def coordinate_descent(  # noqa: PLR0913 (a quadratic form, where it starts, and when it ends)
    codes: npt.NDArray[np.int32],
    target: Array,
    hessian: Array,
    scale: Array,
    grid: Grid,
    sweeps: int = 3,
) -> npt.NDArray[np.int32]:
    """Returns codes that no change of single ones improves much, int32 [G, O, K].

    Args:
        codes: To start from, [G, O, K].
        target: W', [G, O, K].
        hessian: H, positive diagonal, [G, K, K].
        scale: s, [G, O, 1] or [G, O, K].
        grid: What codes can be.
        sweeps: At most; fewer if less than one code in a thousand changes.
    """
    steps = np.ascontiguousarray(np.broadcast_to(scale, target.shape).swapaxes(1, 2))
    found = np.ascontiguousarray(codes.swapaxes(1, 2)).astype(target.dtype)
    apart = found * steps - target.swapaxes(1, 2)
    for _ in range(sweeps):
        changed = 0
        for start in range(0, found.shape[1], _BLOCK):
            part = slice(start, start + _BLOCK)
            moved = _descend_block(
                found[:, part],
                hessian[:, part] @ apart,
                hessian[:, part, part],
                steps[:, part],
                grid,
            )
            apart[:, part] += moved
            changed += int(np.count_nonzero(moved))
        if changed < _SETTLED * found.size:
            break
    return np.ascontiguousarray(found.swapaxes(1, 2)).astype(np.int32)


def _descend_block(codes: Array, slope: Array, hessian: Array, steps: Array, grid: Grid) -> Array:
    """Improves some columns, [G, B, O], in place; returns by how much their weights moved.

    ``slope``, H times how far all columns are from W', is used up.
    """
    moved = np.empty_like(codes)
    curvature = hessian.diagonal(axis1=1, axis2=2)[:, :, np.newaxis] * steps
    for at in range(codes.shape[1]):
        new = grid.nearest(codes[:, at] - slope[:, at] / curvature[:, at])
        moved[:, at] = (new - codes[:, at]) * steps[:, at]
        codes[:, at] = new
        slope[:, at + 1 :] += hessian[:, at + 1 :, at, np.newaxis] * moved[:, at, np.newaxis]
    return moved


def fitted_scale(codes: npt.NDArray[np.int32], target: Array, hessian: Array) -> Array:
    """Returns the scale of each output with the least error for these codes, [G, O, 1].

    NaN where no positive scale does better than 0.
    """
    pulled = codes.astype(target.dtype) @ hessian
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (pulled * target).sum(axis=2) / (pulled * codes).sum(axis=2)
    return np.where(np.isfinite(scale) & (scale > 0), scale, np.nan)[:, :, np.newaxis]
