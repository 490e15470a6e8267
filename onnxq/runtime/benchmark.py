"""Comparing the speed of two models on a machine that does other things too.

Both run in turns, so that whatever slows the machine down slows both; each round gives one ratio,
and the median of the ratios with its confidence interval is the result. With one thread the clock
is the thread's own processor time, which other processes cannot stretch.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.runtime.session import Session, make_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnxq.runtime.session import Feed, ModelLike

__all__ = ["Latency", "interleaved_latency", "median_interval"]

# A round shorter than this measures the clock rather than the model.
_ROUND_S = 0.01
_LEAST_ROUNDS = 9
_MOST_ROUNDS = 101
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
    sessions = [
        model if isinstance(model, Session) else make_session(model, threads=threads)
        for model in (first, second)
    ]
    clock = time.thread_time if threads == 1 else time.perf_counter
    for session in sessions:
        session.run(feeds)
    once = [_spent(session, feeds, 1, clock) for session in sessions]
    repeats = [max(1, math.ceil(_ROUND_S / max(seconds, 1e-6))) for seconds in once]
    round_s = sum(n * seconds for n, seconds in zip(repeats, once, strict=True))
    rounds = min(max(int(budget_s / max(round_s, 1e-6)), _LEAST_ROUNDS), _MOST_ROUNDS)
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for session, n, spent in zip(sessions, repeats, times, strict=True):
            spent.append(_spent(session, feeds, n, clock) / n)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    low, high = median_interval(ratios)
    first_ms, second_ms = (1000 * statistics.median(spent) for spent in times)
    return Latency(first_ms, second_ms, statistics.median(ratios), low, high, rounds)


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
    n, below, j = len(ordered), 1.0, 0
    while below / 2**n <= _TAIL:
        j += 1
        below += math.comb(n, j)
    j = max(j, 1)
    return ordered[j - 1], ordered[n - j]


def _spent(session: Session, feeds: Feed, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        session.run(feeds)
    return clock() - start
