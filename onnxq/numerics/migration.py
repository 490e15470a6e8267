"""How far the spread of an activation's channels should be moved into the weights that read it.

An activation X has one scale for all channels, so the widest channel sets the step for all. Divided
by s per channel, and with the rows of its readers' weights W multiplied by it, the product is the
same and the noise another (Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training
Quantization for Large Language Models", equation 4):

    s_c = max|X_c|^α / max_o(|w_oc| / u_o)^(1-α),        u_o² = Σ_c w_oc² E[x_c²]

α = 1 makes all channels of X equally wide, α = 0 those of W. For each α, on sampled rows x, with Q
as both will be quantized:

    error = mean over outputs o of   mean |Q(x / s) · Q(s · w_o) - x · w_o|² / u_o²

The taps of a convolution count as rows of their own, their noise taken as independent. All that
concerns an output is in units u_o of its own size, where the paper takes the weights as they are.
So nothing changes with factors that readers behind put on the output, and a migration that was made
is the best there is: s of a second one would be 1. For that a channel that is 0 throughout has an s
that gives its weights the median size, and one whose weights are 0 the s that makes it as wide as
the median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.affine import affine_params, dequantize, quantize, symmetric_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float32]
    Indices = npt.NDArray[np.int64]

__all__ = ["Bits", "ChannelRows", "Migration", "RowReader", "migration"]

_ALPHAS = tuple(number / 10 for number in range(11))
# Parts of the range among which the one of least squared error is taken, as calibration does.
_CUTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
# Channels and weights narrower than this part of the widest count as 0.
_NOTHING = 1e-9
# Products per row that are computed: of a greater layer, evenly spaced outputs.
_PRODUCTS = 2048


class ChannelRows(NamedTuple):
    """Samples of a value, channels last.

    Attributes:
        rows: float32 [R, C].
        low: The least element of each channel over all that was seen, float32 [C].
        high: The greatest, float32 [C].
    """

    rows: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class RowReader:
    """A linear layer and what it reads.

    Attributes:
        source: What it reads.
        weight: float [groups, channels in per group, channels out per group, taps].
        numbers: Number of each input channel's factor, -1 for none; int64 [C].
    """

    source: ChannelRows
    weight: npt.NDArray[np.floating]
    numbers: Indices


class Bits(NamedTuple):
    """How many bits codes have.

    Attributes:
        weight: Of a weight's.
        activation: Of an activation's.
    """

    weight: int = 8
    activation: int = 8


class Migration(NamedTuple):
    """What to divide channels by.

    Attributes:
        alpha: The strength found.
        scales: s, float64 [count], positive, with geometric mean 1 where channels are not 0.
        gain: Decibels by which the error is less than without migration.
    """

    alpha: float
    scales: Array
    gain: float


def migration(
    readers: Sequence[RowReader],
    count: int,
    *,
    per_channel: bool = True,
    bits: Bits | None = None,
) -> Migration | None:
    """Returns the migration of least error for all ``readers`` together.

    Args:
        readers: All that read the channels; at least one.
        count: How many factors there are.
        per_channel: Whether weights get a scale for each output channel, or one in all.
        bits: Of the codes; None = 8 each.

    Returns:
        None where no migration is better than none.
    """
    widths = Bits() if bits is None else bits
    judged = [_Judge(reader, widths, per_channel=per_channel) for reader in readers]
    wide, heavy = _extents(readers, judged, count)
    least = before = _error(judged, np.ones(count))
    found: Migration | None = None
    for alpha in _ALPHAS:
        scales = _scales(wide, heavy, alpha)
        error = _error(judged, scales)
        if error < least:
            least = error
            found = Migration(alpha, scales, float(10 * np.log10(before / max(error, 1e-300))))
    return found


def _error(judged: Sequence[_Judge], scales: Array) -> float:
    errors = np.concatenate([judge.errors(scales) for judge in judged])
    return float(errors.sum() / max(1, errors.size))


def _extents(
    readers: Sequence[RowReader], judged: Sequence[_Judge], count: int
) -> tuple[Array, Array]:
    """Returns the greatest magnitude of each channel, and of the weights that read it."""
    wide, heavy = np.zeros(count + 1), np.zeros(count + 1)
    for reader, judge in zip(readers, judged, strict=True):
        reach = np.maximum(-reader.source.low, reader.source.high)
        np.maximum.at(wide, reader.numbers, reach)
        np.maximum.at(heavy, reader.numbers, judge.weights())
    return wide[:-1], heavy[:-1]


def _scales(wide: Array, heavy: Array, alpha: float) -> Array:
    """Returns s of a strength, of geometric mean 1 over the channels that are not 0."""
    moving, weighing = (most > _NOTHING * most.max(initial=0.0) for most in (wide, heavy))
    live = moving & weighing
    scales = np.ones_like(wide)
    if not live.any():
        return scales
    scales[live] = wide[live] ** alpha / heavy[live] ** (1 - alpha)
    scales[live] /= np.exp(np.log(scales[live]).mean())
    still, idle = weighing & ~moving, moving & ~weighing
    scales[still] = np.median(scales[live] * heavy[live]) / heavy[still]
    scales[idle] = wide[idle] / np.median(wide[live] / scales[live])
    return scales


class _Judge:
    """Measures the errors that quantization leaves behind one reader."""

    def __init__(self, reader: RowReader, bits: Bits, *, per_channel: bool) -> None:
        groups, _, outputs, taps = reader.weight.shape
        step = -(-groups * outputs * taps // _PRODUCTS)
        self._weight = reader.weight[:, :, ::step].astype(np.float32)
        self._source, self._numbers = reader.source, reader.numbers
        self._per_channel = per_channel
        self._highest = 2 ** (bits.weight - 1) - 1
        self._codes = (0, 2**bits.activation - 1)
        self._exact = self._product(reader.source.rows, self._weight)
        power = np.square(reader.source.rows, dtype=np.float64).mean(axis=0)
        energy = np.square(self._weight, dtype=np.float64).sum(axis=3)
        self._unit = (energy * power.reshape(groups, -1, 1)).sum(axis=1)

    def weights(self) -> Array:
        """Returns the greatest weight that reads each channel, in the outputs' units, [C]."""
        units = np.sqrt(self._unit)[:, np.newaxis, :, np.newaxis]
        weights = np.zeros(self._weight.shape)
        np.divide(np.abs(self._weight), units, out=weights, where=units > 0)
        return np.asarray(weights.max(axis=(2, 3))).reshape(-1)

    def errors(self, scales: Array) -> Array:
        """Returns the error of each output that is not always 0, for ``scales`` [count]."""
        by = np.append(scales, 1.0)[self._numbers].astype(np.float32)
        found = self._product(self._coded_rows(by), self._coded_weight(by))
        squares = np.square(found - self._exact, dtype=np.float64).sum(axis=3).mean(axis=1)
        alive = self._unit > 0
        return np.asarray(squares[alive] / self._unit[alive])

    def _product(self, rows: Floats, weight: Floats) -> Floats:
        """Returns [groups, R, outputs, taps]."""
        groups, inputs, outputs, taps = weight.shape
        left = rows.reshape(len(rows), groups, inputs).swapaxes(0, 1)
        flat = np.matmul(left, weight.reshape(groups, inputs, -1))
        return np.asarray(flat.reshape(groups, len(rows), outputs, taps), np.float32)

    def _coded_rows(self, by: Floats) -> Floats:
        rows = self._source.rows / by
        low, high = float((self._source.low / by).min()), float((self._source.high / by).max())
        best, least = rows, np.inf
        for cut in _CUTS:
            scale, zero = affine_params(cut * low, cut * high, self._codes)
            coded = dequantize(quantize(rows, scale, zero, self._codes), scale, zero)
            error = float(np.square(coded - rows, dtype=np.float64).sum())
            if error < least:
                best, least = coded, error
        return best * by

    def _coded_weight(self, by: Floats) -> Floats:
        """Returns what is left of the weight, scaled back: products of it and rows are those."""
        column = by.reshape(self._weight.shape[0], -1, 1, 1)
        weight = self._weight * column
        axes = (1, 3) if self._per_channel else None
        scale = symmetric_scale(np.abs(weight).max(axis=axes, keepdims=True), self._highest)
        return np.asarray(np.rint(weight / scale) * scale / column, np.float32)
