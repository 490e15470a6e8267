"""Second moments of what a linear layer reads: all that its squared output error depends on.

With x what the float layer reads and x̂ what the quantized one does, for one group of channels,

    E‖W x − Ŵ x̂‖²  =  tr(Ŵ H Ŵᵀ) − 2 tr(W C Ŵᵀ) + const,     H = E[x̂ x̂ᵀ],  C = E[x x̂ᵀ]

A free bias takes the means out of both: then H and C are covariances.

How far samples leave H open is estimated after Ledoit and Wolf 2004, "A well-conditioned estimator
for large-dimensional covariance matrices", lemma 3.2 and following: of all (1 − λ) H + λ m I, with
m the mean of H's diagonal, the one nearest to the true matrix has

    λ = b² / d²,    b² = Σ_i ‖H_i − H‖² / n²,    d² = ‖H − m I‖²

H_i is that of the sample i: rows of one sample hang together, and are one observation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

__all__ = ["SecondMoments"]

_MOST_DOUBT = 0.95


class SecondMoments:
    """Accumulates second moments, float32, over any number of samples.

    All is taken relative to the first samples' means: large means would leave nothing of small
    covariances.

    Args:
        groups: Number of channel groups G.
        size: Length K of what one output of a group reads.
        around: Other vectors to take x and x̂ relative to, near their means, float32 [G, K] each.
    """

    def __init__(self, groups: int, size: int, around: tuple[Array, Array] | None = None) -> None:
        self._count = 0
        self._samples = 0
        self._squares = np.zeros(groups, np.float64)
        self._hessian = np.zeros((groups, size, size), np.float32)
        self._cross = np.zeros((groups, size, size), np.float32)
        self._means = np.zeros((2, groups, size), np.float64)
        self._pivots: tuple[Array, Array] | None = None
        if around is not None:
            self._pivots = (around[0][:, np.newaxis], around[1][:, np.newaxis])

    def add(self, x: Array, x_hat: Array) -> None:
        """Takes in what both layers read for one sample, float32 [G, n, K] each."""
        if self._pivots is None:
            self._pivots = (x.mean(axis=1, keepdims=True), x_hat.mean(axis=1, keepdims=True))
        x, x_hat = x - self._pivots[0], x_hat - self._pivots[1]
        hessian = x_hat.swapaxes(1, 2) @ x_hat
        self._hessian += hessian
        self._squares += np.square(hessian / len(x_hat[0]), dtype=np.float64).sum(axis=(1, 2))
        self._samples += 1
        self._cross += x.swapaxes(1, 2) @ x_hat
        self._means += np.stack([x.sum(axis=1, dtype=np.float64), x_hat.sum(1, dtype=np.float64)])
        self._count += x.shape[1]

    @property
    def means(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """E[x] and E[x̂], float64 [G, K] each; meaningless without samples."""
        assert self._pivots is not None
        x, x_hat = self._means / self._count
        return x + self._pivots[0][:, 0], x_hat + self._pivots[1][:, 0]

    @property
    def doubt(self) -> npt.NDArray[np.float64]:
        """λ / (1 − λ): what the mean of H's diagonal times this is to be added to, [G].

        0 of a single sample, which tells nothing about others.
        """
        hessian = self._hessian.astype(np.float64) / max(1, self._count)
        power = np.square(hessian).sum(axis=(1, 2))
        mean = hessian.diagonal(axis1=1, axis2=2).mean(axis=1)
        apart = power - hessian.shape[1] * mean**2
        noise = (self._squares / max(1, self._samples) - power) / max(1, self._samples)
        share = np.where(apart > 0, noise / np.where(apart > 0, apart, 1), 0.0)
        share = np.clip(share, 0.0, _MOST_DOUBT)
        return np.asarray(share / (1 - share))

    def matrices(self, *, centred: bool) -> tuple[Array, Array]:
        """Returns H and C, float32 [G, K, K] each; covariances where ``centred``.

        Rows and columns of C run over x and x̂.
        """
        number = np.float32(1 / max(1, self._count))
        x, x_hat = (self._means * number).astype(np.float32)
        hessian = self._hessian * number - _outer(x_hat, x_hat)
        cross = self._cross * number - _outer(x, x_hat)
        if not centred:
            x, x_hat = (mean.astype(np.float32) for mean in self.means)
            hessian += _outer(x_hat, x_hat)
            cross += _outer(x, x_hat)
        return hessian, cross


def _outer(rows: Array, columns: Array) -> Array:
    return rows[:, :, np.newaxis] * columns[:, np.newaxis, :]
