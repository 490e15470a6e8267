"""Matrices of second moments, made safe to invert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["Damped", "inverse_factor"]


class Damped:
    """H + Λ for each group, where Λ is diagonal, with its Cholesky factor.

    Inputs that are never anything but 0 get the mean of the others on the diagonal: they are free,
    and shall stay where they are.

    Args:
        hessian: H, symmetric and positive semidefinite, [G, K, K].
        damping: What is added to the diagonal, in units of its mean; for every group, [G], or one
            for all.

    Attributes:
        matrix: H + Λ, float64 [G, K, K].
        added: The diagonal of Λ, float64 [G, K].
    """

    def __init__(self, hessian: npt.NDArray[np.float32], damping: Array | float) -> None:
        matrix = hessian.astype(np.float64)
        diagonal = matrix.diagonal(axis1=1, axis2=2)
        seen = diagonal > 0
        mean = np.where(seen, diagonal, 0).sum(1) / np.maximum(seen.sum(1), 1)
        mean = np.where(mean > 0, mean, 1.0)[:, np.newaxis]
        self.added = np.where(seen, np.reshape(damping, (-1, 1)) * mean, mean)
        self.matrix = matrix
        places = np.arange(matrix.shape[1])
        self.matrix[:, places, places] += self.added
        self._factors = [_cholesky(one) for one in matrix]

    def solve(self, right: Array) -> Array:
        """Returns X with X (H + Λ) = ``right``, [G, rows, K]."""
        return np.stack(
            [lapack.dpotrs(f, b.T, lower=1)[0].T for f, b in zip(self._factors, right, strict=True)]
        )


def inverse_factor(matrix: Array) -> Array:
    """Returns the upper triangular U with Uᵀ U = M⁻¹ for each M of ``matrix``, [G, K, K]."""
    found = []
    for one in matrix:
        inverse, _ = lapack.dpotri(_cholesky(one), lower=1)
        # Only the lower triangle is written; the Cholesky factor reads no other.
        found.append(np.tril(_cholesky(inverse)).T)
    return np.stack(found)


def _cholesky(matrix: Array) -> Array:
    """Returns the lower factor; sums in float32 may need a little more on the diagonal."""
    factor, failed = lapack.dpotrf(matrix, lower=1)
    extra = 1e-6 * float(np.abs(matrix.diagonal()).max())
    while failed:
        factor, failed = lapack.dpotrf(matrix + extra * np.eye(len(matrix)), lower=1)
        extra *= 10
    return np.asarray(factor)
