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

    _Run = tuple[Session, Feed]

__all__ = [
    "Latency",
    "Ratio",
    "Times",
    "counts_processor_time",
    "fresh_times",
    "interleaved_latency",
    "interleaved_times",
    "median_interval",
]

# A round shorter than this measures the clock rather than the model.
_ROUND_S = 0.01
_LEAST_ROUNDS = 9
_MOST_ROUNDS = 1001
# Sets of fresh sessions to share the time among, and the most of them.
_FRESH = 15
_MOST_FRESH = 51
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


def interleaved_latency(  # noqa: PLR0913  (all but the models and their input have defaults)
    first: ModelLike | Session,
    second: ModelLike | Session,
    feeds: Feed,
    *,
    threads: int = 1,
    budget_s: float = 1.0,
    provider: str = CPU,
) -> Latency:
    """Times two models against each other on the same input.

    Args:
        first: A model, run with all optimizations, or a session as it is.
        second: Another one with the same inputs.
        feeds: Input name → array.
        threads: Threads inside an operator. With 1 the clock is processor time, else wall time.
        budget_s: Seconds to spend on timing; at least nine rounds run in any case.
        provider: Execution provider of the sessions that are made here.

    Returns:
        The latencies.

    Raises:
        ModelError: onnxruntime refuses a model or the feeds.
    """
    times = interleaved_times(
        [first, second], [feeds, feeds], threads=threads, budget_s=budget_s, provider=provider
    )
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
    runs = _warm(sessions, feeds)
    repeats, round_s = _repeats(runs, clock)
    rounds = min(max(int(budget_s / round_s), _LEAST_ROUNDS), _MOST_ROUNDS)
    return Times(_timed(runs, repeats, rounds, clock))


def fresh_times(
    make: Callable[[int], Session],
    feeds: Sequence[Feed],
    *,
    threads: int = 1,
    budget_s: float = 1.0,
    provider: str = CPU,
) -> Times:
    """Times models in turns, with fresh sessions in every round.

    Where a session's weights and buffers come to lie in memory makes it faster or slower by a
    percent or so, as long as it lives. Rounds of one set of sessions share that luck, and their
    interval does not know it; rounds of fresh ones each draw it anew. Every other round makes and
    runs the models in the opposite order, since those made later lie elsewhere, too.

    Args:
        make: Returns a fresh session of the model of that number.
        feeds: For each model, input name → array.
        threads: Threads inside an operator, of these sessions.
        budget_s: Seconds to spend on timing; at least nine rounds run in any case.
        provider: Execution provider of these sessions.

    Returns:
        The times; those of a round are medians over its turns.

    Raises:
        ModelError: onnxruntime refuses a model or its feeds.
    """
    clock = time.thread_time if counts_processor_time(threads, provider) else time.perf_counter
    order, repeats, turns = list(range(len(feeds))), [1 for _ in feeds], 1
    medians: list[list[float]] = []
    end = time.perf_counter() + budget_s
    while len(medians) < _LEAST_ROUNDS or (
        time.perf_counter() < end and len(medians) < _MOST_FRESH
    ):
        runs = _warm([make(model) for model in order], [feeds[model] for model in order])
        if not medians:
            repeats, turn_s = _repeats(runs, clock)
            turns = max(1, int(budget_s / _FRESH / turn_s))
        spent = _timed(runs, repeats, turns, clock)
        by_model = dict(zip(order, map(statistics.median, spent), strict=True))
        medians.append([by_model[model] for model in range(len(feeds))])
        del runs
        order, repeats = order[::-1], repeats[::-1]
    return Times(tuple(zip(*medians, strict=True)))


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


def _warm(sessions: Sequence[Session], feeds: Sequence[Feed]) -> list[_Run]:
    """Runs every session once, which allocates and packs what later runs find ready."""
    runs = list(zip(sessions, feeds, strict=True))
    for session, feed in runs:
        session.run(feed)
    return runs


def _repeats(runs: Sequence[_Run], clock: Callable[[], float]) -> tuple[list[int], float]:
    """Returns how often to run each for one time, and the seconds that all of that takes."""
    once = [_spent(session, feed, 1, clock) for session, feed in runs]
    repeats = [max(1, math.ceil(_ROUND_S / max(seconds, 1e-6))) for seconds in once]
    return repeats, max(sum(n * s for n, s in zip(repeats, once, strict=True)), 1e-6)


def _timed(
    runs: Sequence[_Run], repeats: Sequence[int], rounds: int, clock: Callable[[], float]
) -> tuple[tuple[float, ...], ...]:
    """Returns the seconds of one run, by model, by round."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for (session, feed), n, spent in zip(runs, repeats, times, strict=True):
            spent.append(_spent(session, feed, n, clock) / n)
    return tuple(tuple(spent) for spent in times)


def _spent(session: Session, feeds: Feed, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        session.run(feeds)
    return clock() - start
