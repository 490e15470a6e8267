"""The noise behind the readers of a value, with its channels in clusters or all together.

With n_c = Σ_o W_oc² over all taps, steps s_K of the clusters K and s_y of what the reader writes,
the noise of one output position is, in expectation,

    value:    Σ_K  s_K² / 12 · Σ_{c in K} n_c
    weight:   Σ_K Σ_o  Δ_oK² / 12 · taps · Σ_{c in K} E[x_c²],        Δ_oK = max_{c in K} |W_oc| / q
    output:   Σ_o  s_y² / 12,  once more for each partial sum that is rounded to such steps

and the signal Σ_c n_c · E[x_c²], channels taken as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import weight_of
from onnxq.graph.roles import weight_channel_axis

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]

__all__ = ["LayerNoise", "layer_noise"]


@dataclass(frozen=True, eq=False)
class LayerNoise:
    """A linear layer, as far as noise is concerned.

    Attributes:
        energy: float64 [I], n_c.
        largest: float64 [O, I], the greatest magnitude over the taps.
        taps: Weights per pair of channels.
        written: Σ_o s_y² / 12; 0 where the output is float.
        qmax: Greatest weight code.
    """

    energy: Array
    largest: npt.NDArray[np.float32]
    taps: int
    written: float
    qmax: int

    def signal(self, power: Array) -> float:
        """Returns the power of the outputs of one position, for mean squares ``power`` [I]."""
        return float(self.energy @ power)

    def noise(
        self, labels: npt.NDArray[np.int64], steps: Array, power: Array, rounded: int = 0
    ) -> float:
        """Returns the noise of one output position.

        Args:
            labels: int64 [I], the cluster of each channel.
            steps: float64 [K], the scale of each cluster.
            power: float64 [I], mean square of each channel.
            rounded: Partial sums that are rounded as the output is.
        """
        total = (1 + rounded) * self.written
        for number, step in enumerate(steps):
            inside = labels == number
            widest = self.largest[:, inside].max(axis=1, initial=0.0).astype(np.float64)
            total += step**2 / 12 * self.energy[inside].sum()
            weight = np.square(widest / self.qmax).sum() / 12
            total += weight * self.taps * power[inside].sum()
        return float(total)


def layer_noise(node: ir.Node, qmax: int, step: float) -> LayerNoise:
    """Returns the noise model of a Conv of one group, a Gemm or a MatMul.

    Args:
        node: With a constant weight.
        qmax: Greatest weight code.
        step: s_y, the scale of what it writes; 0 where that is float.
    """
    weight = weight_of(node.inputs[1])
    assert weight is not None
    first = np.moveaxis(weight, weight_channel_axis(node), 0)
    taps = first.reshape(first.shape[0], first.shape[1], -1)
    energy = np.square(taps, dtype=np.float64).sum(axis=(0, 2))
    return LayerNoise(
        energy, np.abs(taps).max(axis=2), taps.shape[2], len(first) * step**2 / 12, qmax
    )
