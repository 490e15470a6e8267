"""Comparing the speed of models on a machine that does other things too.

All run in turns, so that whatever slows the machine down slows all; each round gives one ratio to
the first model, and the median of the ratios with its confidence interval is the result. With one
thread on the CPU the clock is the thread's own processor time, which other processes cannot
stretch.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.runtime.session import CPU, Session, make_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnxq.runtime.session import Feed, ModelLike

__all__ = [
    "Latency",
    "Ratio",
    "Times",
    "counts_processor_time",
    "interleaved_latency",
    "interleaved_times",
    "median_interval",
]

# A round shorter than this measures the clock rather than the model.
_ROUND_S = 0.01
_LEAST_ROUNDS = 9
_MOST_ROUNDS = 1001
_TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one run of each of two models takes, and their ratio.

    Attributes:
        first_ms: Median milliseconds of the first model.
        second_ms: Median milliseconds of the second.
        speedup: Median over the rounds of first / second; above 1 the second is faster.
        low: Lower end of the speedup's 95 % interval.
        high: Upper end.
        rounds: Number of rounds.
    """

    first_ms: float
    second_ms: float
    speedup: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as another model one is.

    Attributes:
        value: Median over the rounds; above 1 it is faster.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 1, so that noise does not explain the difference."""
        return not self.low <= 1 <= self.high


@dataclass(frozen=True, slots=True)
class Times:
    """How long models took that ran in turns.

    Attributes:
        seconds: Of one run, by model, by round.
    """

    seconds: tuple[tuple[float, ...], ...]

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.seconds[0])

    def milliseconds(self, model: int) -> tuple[float, float, float]:
        """Returns median and 95 % interval of the time of one run: (median, low, high)."""
        spent = [1000 * seconds for seconds in self.seconds[model]]
        return (statistics.median(spent), *median_interval(spent))

    def ratio(self, model: int) -> Ratio:
        """Returns how many times as fast as the first model this one is."""
        pairs = zip(self.seconds[0], self.seconds[model], strict=True)
        ratios = [first / other for first, other in pairs]
        return Ratio(statistics.median(ratios), *median_interval(ratios))


def interleaved_latency(
    first: ModelLike | Session,
    second: ModelLike | Session,
    feeds: Feed,
    *,
    threads: int = 1,
    budget_s: float = 1.0,
) -> Latency:
    """Times two models against each other on the same input.

    Args:
        first: A model, run with all optimizations, or a session as it is.
        second: Another one with the same inputs.
        feeds: Input name → array.
        threads: Threads inside an operator. With 1 the clock is processor time, else wall time.
        budget_s: Seconds to spend on timing; at least nine rounds run in any case.

    Returns:
        The latencies.

    Raises:
        ModelError: onnxruntime refuses a model or the feeds.
    """
    times = interleaved_times([first, second], [feeds, feeds], threads=threads, budget_s=budget_s)
    ratio = times.ratio(1)
    first_ms, second_ms = (times.milliseconds(model)[0] for model in (0, 1))
    return Latency(first_ms, second_ms, ratio.value, ratio.low, ratio.high, times.rounds)


def interleaved_times(
    models: Sequence[ModelLike | Session],
    feeds: Sequence[Feed],
    *,
    threads: int = 1,
    budget_s: float = 1.0,
    provider: str = CPU,
) -> Times:
    """Times models in turns.

    Args:
        models: One or more models, run with all optimizations, or sessions as they are.
        feeds: For each model, input name → array.
        threads: Threads inside an operator.
        budget_s: Seconds to spend on timing; at least nine rounds run in any case.
        provider: Execution provider of the sessions that are made here.

    Returns:
        The times; of the processor where :func:`counts_processor_time`, else wall time.

    Raises:
        ModelError: onnxruntime refuses a model or its feeds.
    """
    sessions = [
        model
        if isinstance(model, Session)
        else make_session(model, threads=threads, provider=provider)
        for model in models
    ]
    clock = time.thread_time if counts_processor_time(threads, provider) else time.perf_counter
    runs = list(zip(sessions, feeds, strict=True))
    for session, feed in runs:
        session.run(feed)
    once = [_spent(session, feed, 1, clock) for session, feed in runs]
    repeats = [max(1, math.ceil(_ROUND_S / max(seconds, 1e-6))) for seconds in once]
    round_s = sum(n * seconds for n, seconds in zip(repeats, once, strict=True))
    rounds = min(max(int(budget_s / max(round_s, 1e-6)), _LEAST_ROUNDS), _MOST_ROUNDS)
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds):
        for (session, feed), n, spent in zip(runs, repeats, times, strict=True):
            spent.append(_spent(session, feed, n, clock) / n)
    return Times(tuple(tuple(spent) for spent in times))


def counts_processor_time(threads: int, provider: str = CPU) -> bool:
    """Says whether the clock is the thread's processor time: only it works, and on the CPU."""
    return threads == 1 and provider == CPU


def median_interval(numbers: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % confidence interval of the median, from order statistics.

    The j-th least and j-th greatest number enclose the median with probability
    1 - 2 P(Binomial(n, 1/2) < j), whatever the distribution.

    Args:
        numbers: At least one; below six the interval is their whole range.

    Returns:
        Its ends.
    """
    ordered = sorted(numbers)
    n = len(ordered)
    # Whole numbers: 2**n is no float from a thousand rounds on.
    j, term, below = 0, 1, 1
    while below / 2**n <= _TAIL:
        j += 1
        term = term * (n - j + 1) // j
        below += term
    j = max(j, 1)
    return ordered[j - 1], ordered[n - j]


def _spent(session: Session, feeds: Feed, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        session.run(feeds)
    return clock() - start
