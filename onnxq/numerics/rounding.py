"""Rounds weights so that a layer's output, not its weights, comes close to what it should be.

With H = E[x̂ x̂ᵀ] and target W' (:func:`least_squares_target`), codes q minimise, row by row,

    tr((s q − W') H (s q − W')ᵀ)

* :func:`gptq`: column by column, each error handed on to the columns that follow (Frantar et al.
  2022, "GPTQ", algorithm 1), columns in order of falling diagonal of H.
* :func:`coordinate_descent`: every code in turn is set to the best value given all others, which
  never raises the error.
* :func:`fitted_scale`: the best s for given codes, in closed form.

Arrays have shape [G, O, K]: groups, outputs of a group, inputs of a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.damped import Damped, inverse_factor

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Limits = tuple[int, int]

__all__ = ["coordinate_descent", "fitted_scale", "gptq", "least_squares_target", "output_error"]

_BLOCK = 64
_SETTLED = 1e-3


def least_squares_target(
    weight: Array, anchor: Array, damped: Damped, cross: npt.NDArray[np.float32]
) -> Array:
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
    apart = real - target
    return np.asarray(((apart @ hessian) * apart).sum(axis=2))


def gptq(target: Array, damped: Damped, scale: Array, limits: Limits) -> npt.NDArray[np.int32]:
    """Returns codes, int32 [G, O, K].

    Args:
        target: W', [G, O, K].
        damped: H + Λ, [G, K, K].
        scale: s, [G, O, 1] or [G, O, K].
        limits: Least and greatest code.
    """
    diagonal = damped.matrix.diagonal(axis1=1, axis2=2)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    rows, columns = order[:, :, np.newaxis], order[:, np.newaxis, :]
    groups = np.arange(len(order))[:, np.newaxis, np.newaxis]
    factor = inverse_factor(damped.matrix[groups, rows, columns])
    # The columns of W' along axis 1, as they are visited.
    left = np.take_along_axis(target.swapaxes(1, 2), rows, axis=1)
    steps = np.take_along_axis(np.broadcast_to(scale, target.shape).swapaxes(1, 2), rows, axis=1)
    codes = np.empty(left.shape, np.int32)
    for start in range(0, left.shape[1], _BLOCK):
        part = slice(start, start + _BLOCK)
        errors = _round_block(
            left[:, part], steps[:, part], factor[:, part, part], codes[:, part], limits
        )
        behind = factor[:, part, part.stop :]
        left[:, part.stop :] -= behind.swapaxes(1, 2) @ errors
    found = np.empty_like(codes)
    np.put_along_axis(found, np.broadcast_to(rows, codes.shape), codes, axis=1)
    return np.ascontiguousarray(found.swapaxes(1, 2))


def _round_block(
    left: Array, steps: Array, factor: Array, codes: npt.NDArray[np.int32], limits: Limits
) -> Array:
    """Fills the codes of some columns, [G, B, O]; returns their errors over the factor's diagonal.

    ``left`` is used up.
    """
    errors = np.empty_like(left)
    for at in range(left.shape[1]):
        code = np.clip(np.rint(left[:, at] / steps[:, at]), *limits)
        codes[:, at] = code
        error = (left[:, at] - code * steps[:, at]) / factor[:, at, at, np.newaxis]
        left[:, at + 1 :] -= factor[:, at, at + 1 :, np.newaxis] * error[:, np.newaxis]
        errors[:, at] = error
    return errors


def coordinate_descent(  # noqa: PLR0913 (a quadratic form, where it starts, and when it ends)
    codes: npt.NDArray[np.int32],
    target: Array,
    hessian: Array,
    scale: Array,
    limits: Limits,
    sweeps: int = 3,
) -> npt.NDArray[np.int32]:
    """Returns codes that no change of single ones improves much, int32 [G, O, K].

    Args:
        codes: To start from, [G, O, K].
        target: W', [G, O, K].
        hessian: H, positive diagonal, [G, K, K].
        scale: s, [G, O, 1] or [G, O, K].
        limits: Least and greatest code.
        sweeps: At most; fewer if less than one code in a thousand changes.
    """
    steps = np.ascontiguousarray(np.broadcast_to(scale, target.shape).swapaxes(1, 2))
    found = np.ascontiguousarray(codes.swapaxes(1, 2)).astype(np.float64)
    slope = hessian @ (found * steps - target.swapaxes(1, 2))
    for _ in range(sweeps):
        before = found.copy()
        for start in range(0, found.shape[1], _BLOCK):
            part = slice(start, start + _BLOCK)
            moved = _descend_block(
                found[:, part],
                slope[:, part].copy(),
                hessian[:, part, part],
                steps[:, part],
                limits,
            )
            slope += hessian[:, :, part] @ moved
        if np.count_nonzero(found != before) < _SETTLED * found.size:
            break
    return np.ascontiguousarray(found.swapaxes(1, 2)).astype(np.int32)


def _descend_block(
    codes: Array, slope: Array, hessian: Array, steps: Array, limits: Limits
) -> Array:
    """Improves some columns, [G, B, O], in place; returns by how much their weights moved."""
    moved = np.empty_like(codes)
    for at in range(codes.shape[1]):
        step, curvature = steps[:, at], hessian[:, at, at, np.newaxis]
        new = np.clip(np.rint(codes[:, at] - slope[:, at] / (curvature * step)), *limits)
        by = (new - codes[:, at]) * step
        codes[:, at] = new
        slope += hessian[:, :, at, np.newaxis] * by[:, np.newaxis]
        moved[:, at] = by
    return moved


def fitted_scale(codes: npt.NDArray[np.int32], target: Array, hessian: Array) -> Array:
    """Returns the scale of each output with the least error for these codes, [G, O, 1].

    NaN where no positive scale does better than 0.
    """
    pulled = codes.astype(np.float64) @ hessian
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (pulled * target).sum(axis=2) / (pulled * codes).sum(axis=2)
    return np.where(np.isfinite(scale) & (scale > 0), scale, np.nan)[:, :, np.newaxis]
