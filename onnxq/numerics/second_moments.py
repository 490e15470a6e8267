"""Second moments of what a linear layer reads: all that its squared output error depends on.

With x what the float layer reads and x̂ what the quantized one does, for one group of channels,

    E‖W x − Ŵ x̂‖²  =  tr(Ŵ H Ŵᵀ) − 2 tr(W C Ŵᵀ) + const,     H = E[x̂ x̂ᵀ],  C = E[x x̂ᵀ]

A free bias takes the means out of both: then H and C are covariances. How much W x varies by itself
is taken too, where W is given: what is nearest to W x varies less, by as much as x̂ leaves open.

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
# Few large products take less than many small ones.
_ROWS_AT_ONCE = 1024


class SecondMoments:
    """Accumulates second moments, float32, over any number of samples.

    All is taken relative to the first samples' means: large means would leave nothing of small
    covariances.

    Args:
        groups: Number of channel groups G.
        size: Length K of what one output of a group reads.
        around: Other vectors to take x and x̂ relative to, near their means, float32 [G, K] each.
        weight: W, float32 [G, O, K], whose outputs are to be looked at as well.
    """

    def __init__(
        self,
        groups: int,
        size: int,
        around: tuple[Array, Array] | None = None,
        weight: Array | None = None,
    ) -> None:
        self._count = 0
        self._samples = 0
        self._squares = np.zeros(groups, np.float64)
        self._hessian = np.zeros((groups, size, size), np.float32)
        self._cross = np.zeros((groups, size, size), np.float32)
        self._means = np.zeros((2, groups, size), np.float64)
        self._pivots: tuple[Array, Array] | None = None
        if around is not None:
            self._pivots = (around[0][:, np.newaxis], around[1][:, np.newaxis])
        self._waiting: list[tuple[Array, Array]] = []
        self._weight = weight
        self._outputs = np.zeros((groups, 0 if weight is None else weight.shape[1]), np.float64)

    def add(self, x: Array, x_hat: Array) -> None:
        """Takes in what both layers read for one sample, float32 [G, n, K] each."""
        if self._pivots is None:
            self._pivots = (x.mean(axis=1, keepdims=True), x_hat.mean(axis=1, keepdims=True))
        same = x is x_hat and np.array_equal(*self._pivots)
        x_hat = x_hat - self._pivots[1]
        x = x_hat if same else x - self._pivots[0]
        self._squares += _power(x_hat) / x_hat.shape[1] ** 2
        self._samples += 1
        self._count += x.shape[1]
        self._waiting.append((x, x_hat))
        if sum(rows.shape[1] for rows, _ in self._waiting) >= _ROWS_AT_ONCE:
            self._sum()

    def _sum(self) -> None:
        """Adds the waiting rows to the sums."""
        if not self._waiting:
            return
        x, x_hat = (np.concatenate(rows, axis=1) for rows in zip(*self._waiting, strict=True))
        same = all(one is other for one, other in self._waiting)
        self._waiting.clear()
        hessian = x_hat.swapaxes(1, 2) @ x_hat
        self._hessian += hessian
        self._cross += hessian if same else x.swapaxes(1, 2) @ x_hat
        self._means += np.stack([x.sum(axis=1), x_hat.sum(axis=1)])
        if self._weight is not None:
            outputs = x @ self._weight.swapaxes(1, 2)
            self._outputs += np.square(outputs).sum(axis=1, dtype=np.float64)

    @property
    def means(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """E[x] and E[x̂], float64 [G, K] each; meaningless without samples."""
        assert self._pivots is not None
        self._sum()
        x, x_hat = self._means / self._count
        return x + self._pivots[0][:, 0], x_hat + self._pivots[1][:, 0]

    @property
    def doubt(self) -> npt.NDArray[np.float64]:
        """λ / (1 − λ): what the mean of H's diagonal times this is to be added to, [G].

        0 of a single sample, which tells nothing about others.
        """
        self._sum()
        count, size = max(1, self._count), self._hessian.shape[1]
        power = _square_sum(self._hessian) / count**2
        mean = self._hessian.diagonal(axis1=1, axis2=2).mean(axis=1, dtype=np.float64) / count
        apart = power - size * mean**2
        noise = (self._squares / max(1, self._samples) - power) / max(1, self._samples)
        share = np.where(apart > 0, noise / np.where(apart > 0, apart, 1), 0.0)
        share = np.clip(share, 0.0, _MOST_DOUBT)
        return np.asarray(share / (1 - share))

    def matrices(self, *, centred: bool) -> tuple[Array, Array]:
        """Returns H and C, float32 [G, K, K] each; covariances where ``centred``.

        Rows and columns of C run over x and x̂.
        """
        self._sum()
        number = np.float32(1 / max(1, self._count))
        x, x_hat = (self._means * number).astype(np.float32)
        hessian, cross = self._hessian * number, self._cross * number
        hessian -= _outer(x_hat, x_hat)
        cross -= _outer(x, x_hat)
        if not centred:
            x, x_hat = (mean.astype(np.float32) for mean in self.means)
            hessian += _outer(x_hat, x_hat)
            cross += _outer(x, x_hat)
        return hessian, cross

    def output_power(self, *, centred: bool) -> npt.NDArray[np.float64] | None:
        """Returns E[(W x)²] of every output, float64 [G, O]; the variance where ``centred``.

        None where no W was given.
        """
        self._sum()
        if self._weight is None:
            return None
        number = 1 / max(1, self._count)
        moved = (self._weight @ (self._means[0] * number)[..., np.newaxis])[..., 0]
        power = np.maximum(self._outputs * number - moved**2, 0)
        if not centred:
            power += (self._weight @ self.means[0][..., np.newaxis])[..., 0] ** 2
        return np.asarray(power)


def _power(rows: Array) -> npt.NDArray[np.float64]:
    """Returns ‖XᵀX‖² of every group's X, which is ‖XXᵀ‖² as well, [G]."""
    turned = rows.swapaxes(1, 2)
    return _square_sum(rows @ turned if rows.shape[1] < rows.shape[2] else turned @ rows)


def _square_sum(matrices: Array) -> npt.NDArray[np.float64]:
    return np.asarray(np.vecdot(matrices, matrices).sum(axis=1, dtype=np.float64))


def _outer(rows: Array, columns: Array) -> Array:
    return rows[:, :, np.newaxis] * columns[:, np.newaxis, :]
