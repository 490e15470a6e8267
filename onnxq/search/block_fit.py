"""Gradient descent on the error of one block's outputs.

Wei et al. 2022, "QDrop: Randomly Dropping Quantization for Extremely Low-bit Post-Training
Quantization", section 4: of what the block reads, each element is the quantized model's or, as
often, the float model's, anew in every step; here in the first half of the steps, for biases learn
what they read. Samples that the descent never saw tell whether
anything is gained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from onnxq.numerics.learned import Learned
    from onnxq.search.block_graph import BlockError

    Array = npt.NDArray[Any]
    Indices = npt.NDArray[np.int64]
    Values = Mapping[str, Sequence[Array]]

__all__ = ["BlockSamples", "Descent", "descend"]

_DROPPED = 0.5


@dataclass(frozen=True)
class BlockSamples:
    """What a block reads and should give, sample by sample.

    Attributes:
        real: Input of the block → what the float model has there.
        coded: Input of the block → what the quantized model has there.
        wanted: Output of the block → what the float model has there.
        batch: How many samples run together.
    """

    real: Values
    coded: Values
    wanted: Values
    batch: int

    def at(self, numbers: Indices, rng: np.random.Generator | None = None) -> _Batch:
        """Returns some samples together; with ``rng``, float values among the quantized ones."""
        feed = {name: _joined(arrays, numbers) for name, arrays in self.coded.items()}
        wanted = {name: _joined(arrays, numbers) for name, arrays in self.wanted.items()}
        if rng is not None:
            for name, array in feed.items():
                if array.dtype == np.float32:
                    dropped = rng.random(array.shape, np.float32) < _DROPPED
                    feed[name] = np.where(dropped, _joined(self.real[name], numbers), array)
        return _Batch(feed, wanted)


class _Batch(NamedTuple):
    feed: dict[str, Array]
    wanted: dict[str, Array]


class Descent(NamedTuple):
    """How it went.

    Attributes:
        before: Error of the outputs on held-out samples where it began.
        after: Error on them where it ended.
    """

    before: float
    after: float


def descend(  # noqa: PLR0913 (a block, its samples, and how hard to try)
    error: BlockError,
    samples: BlockSamples,
    learned: Sequence[tuple[Sequence[str], Learned]],
    fit: Sequence[int],
    judges: Sequence[int],
    *,
    steps: int,
    seed: int,
) -> Descent:
    """Moves what is learned, in place.

    Args:
        error: Of the block.
        samples: What it reads and should give.
        learned: (names of inputs that hold it, what moves) each.
        fit: Numbers of the samples to fit.
        judges: Numbers of the samples to judge by.
        steps: How many.
        seed: Of the batches, and of which elements are the float model's.
    """
    rng = np.random.default_rng(seed)
    before = _judged(error, samples, learned, judges)
    order = _batches(fit, samples.batch, rng)
    for step in range(steps):
        feed, wanted = samples.at(next(order), rng if step < steps / 2 else None)
        _, slopes = error.run(feed, wanted, _values(learned))
        for names, part in learned:
            slope = np.sum([slopes[name] for name in names], axis=0)
            part.descend(slope, step / steps)
    for _, part in learned:
        part.settle()
    return Descent(before, _judged(error, samples, learned, judges))


def _values(learned: Sequence[tuple[Sequence[str], Learned]]) -> dict[str, Array]:
    return {name: value for names, part in learned for value in [part.value()] for name in names}


def _judged(
    error: BlockError,
    samples: BlockSamples,
    learned: Sequence[tuple[Sequence[str], Learned]],
    judges: Sequence[int],
) -> float:
    values, total = _values(learned), 0.0
    full = -(-len(judges) // samples.batch) * samples.batch
    numbers = np.resize(np.asarray(judges, np.int64), full)
    for start in range(0, full, samples.batch):
        total += error.run(*samples.at(numbers[start : start + samples.batch]), values)[0]
    return total


def _batches(numbers: Sequence[int], size: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Yields batches without end; every sample comes once before one comes again."""
    left = np.zeros(0, np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(np.asarray(numbers, np.int64))])
        yield left[:size]
        left = left[size:]


def _joined(arrays: Sequence[Array], numbers: Indices) -> Array:
    chosen = [arrays[number] for number in numbers]
    return chosen[0] if len(chosen) == 1 else np.concatenate(chosen)
