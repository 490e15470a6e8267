"""Matrices of second moments, made safe to invert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import get_lapack_funcs

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.floating]

__all__ = ["Damped"]


class Damped:
    """H + Λ for each group, where Λ is diagonal, with its Cholesky factor.

    Inputs that are never anything but 0 get the mean of the others on the diagonal: they are free,
    and shall stay where they are.

    Args:
        hessian: H, symmetric and positive semidefinite, [G, K, K].
        damping: What is added to the diagonal, in units of its mean; for every group, [G], or one
            for all.

    Attributes:
        matrix: H + Λ, [G, K, K], of the type of H.
        added: The diagonal of Λ, [G, K].
        order: Columns in order of rising diagonal, [G, K].
        factor: The upper triangular U with Uᵀ U = M for each group's M, in this order, [G, K, K].
    """

    def __init__(self, hessian: Array, damping: npt.NDArray[np.float64] | float) -> None:
        self.matrix = hessian.copy()
        diagonal = hessian.diagonal(axis1=1, axis2=2)
        seen = diagonal > 0
        mean = np.where(seen, diagonal, 0).sum(1) / np.maximum(seen.sum(1), 1)
        mean = np.where(mean > 0, mean, 1.0)[:, np.newaxis]
        added = np.where(seen, np.reshape(damping, (-1, 1)) * mean, mean)
        self.added = np.asarray(added, hessian.dtype)
        places = np.arange(hessian.shape[1])
        self.matrix[:, places, places] += self.added
        falling = -self.matrix.diagonal(axis1=1, axis2=2)
        self.order = np.argsort(falling, axis=1, kind="stable")[:, ::-1]
        self.factor = np.empty_like(self.matrix)
        for into, one, order in zip(self.factor, self.matrix, self.order, strict=True):
            _factor(one, order, into)

    def solve(self, right: Array) -> Array:
        """Returns X with X (H + Λ) = ``right``, [G, rows, K]."""
        (potrs,) = get_lapack_funcs(("potrs",), (self.factor,))
        found = np.empty_like(right)
        for x, upper, b, order in zip(found, self.factor, right, self.order, strict=True):
            x[:, order] = potrs(upper.T, b[:, order].T, lower=1)[0].T
        return found


def _factor(matrix: Array, order: npt.NDArray[np.intp], into: Array) -> None:
    """Fills in the upper factor; sums in float32 may need a little more on the diagonal."""
    (potrf,) = get_lapack_funcs(("potrf",), (into,))
    diagonal = np.diag_indices(len(into))
    failed, extra = True, 0.0
    while failed:
        into[...] = matrix[np.ix_(order, order)]
        into[diagonal] += into.dtype.type(extra)
        # LAPACK reads columns first: its lower triangle is the upper one of rows.
        _, failed = potrf(into.T, lower=1, overwrite_a=1)
        extra = extra * 10 or 1e-6 * float(np.abs(matrix.diagonal()).max())
