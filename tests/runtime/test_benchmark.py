import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from onnxq.runtime.benchmark import (
    Ratio,
    Times,
    counts_processor_time,
    fresh_times,
    interleaved_latency,
    interleaved_times,
    median_interval,
)
from onnxq.runtime.session import Feed, Session, make_session

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N] x) => (float[N] y) { y = Exp (x) }
"""


class Sleeper(Session):
    """A session that takes a known time and notes when it ran."""

    def __init__(self, log: list[str], name: str, seconds: float) -> None:
        self.log, self.name, self.seconds = log, name, seconds

    def run(self, feeds: Feed) -> dict[str, npt.NDArray[Any]]:  # noqa: ARG002
        self.log.append(self.name)
        time.sleep(self.seconds)
        return {}


def test_the_faster_model_has_a_speedup_above_one() -> None:
    log: list[str] = []
    slow, fast = Sleeper(log, "slow", 0.012), Sleeper(log, "fast", 0.003)
    found = interleaved_latency(slow, fast, {}, threads=2, budget_s=0.1)
    assert found.speedup > 1
    assert found.low <= found.speedup <= found.high
    assert found.first_ms > found.second_ms >= 3


def test_rounds_take_turns_and_are_at_least_nine() -> None:
    log: list[str] = []
    found = interleaved_latency(
        Sleeper(log, "a", 0.011), Sleeper(log, "b", 0.011), {}, threads=2, budget_s=0.01
    )
    assert found.rounds == 9
    assert log[4:] == ["a", "b"] * 9


@pytest.mark.parametrize("threads", [1, 2])
def test_models_are_timed_by_running_them(threads: int) -> None:
    feeds = {"x": np.zeros(20_000, np.float32)}
    model = ir.from_onnx_text(MODEL)
    found = interleaved_latency(
        model, make_session(model, threads=threads), feeds, threads=threads, budget_s=0.05
    )
    assert 0.2 < found.speedup < 5
    assert found.first_ms > 0


@pytest.mark.parametrize("n", [6, 7, 9, 15, 40, 101])
def test_the_interval_encloses_the_median_with_95_percent_and_no_more_than_needed(n: int) -> None:
    low, high = median_interval(list(range(n, 0, -1)))
    j = int(low)
    assert high == n + 1 - j
    tail = sum(math.comb(n, i) for i in range(j)) / 2**n
    assert tail <= 0.025 < tail + math.comb(n, j) / 2**n


def test_few_numbers_give_their_whole_range() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert median_interval([2.0]) == (2.0, 2.0)


def test_a_thousand_rounds_have_an_interval_too() -> None:
    low, high = median_interval(list(range(5000)))
    assert 2400 < low < 2450 < 2550 < high < 2600


def test_every_model_takes_its_turn_on_its_own_feeds() -> None:
    log: list[str] = []
    found = interleaved_times(
        [Sleeper(log, name, 0.011) for name in "abc"], [{}, {}, {}], threads=2, budget_s=0.01
    )
    assert log[6:] == ["a", "b", "c"] * 9
    assert found.rounds == 9


def test_ratios_are_to_the_first_model_round_by_round() -> None:
    times = Times(((4.0, 6.0, 8.0), (2.0, 2.0, 2.0)))
    assert times.ratio(1) == Ratio(3.0, 2.0, 4.0)
    assert times.ratio(0) == Ratio(1.0, 1.0, 1.0)
    assert times.milliseconds(0) == (6000.0, 4000.0, 8000.0)


@pytest.mark.parametrize(
    ("low", "high", "clear"), [(0.9, 1.1, False), (1.0, 1.2, False), (1.01, 1.2, True)]
)
def test_a_difference_is_clear_where_its_interval_leaves_out_one(
    low: float, high: float, clear: bool
) -> None:
    assert Ratio(1.05, low, high).clear is clear
    assert Ratio(0.95, 1 / high, 1 / low).clear is clear


def test_only_a_single_thread_on_the_cpu_is_timed_by_the_processor() -> None:
    assert counts_processor_time(1)
    assert not counts_processor_time(2)
    assert not counts_processor_time(1, "SomeGpuExecutionProvider")


def test_fresh_sessions_take_turns_in_both_orders() -> None:
    log: list[str] = []
    made: list[int] = []

    def make(model: int) -> Session:
        made.append(model)
        return Sleeper(log, "ab"[model], 0.011)

    found = fresh_times(make, [{}, {}], threads=2, budget_s=0.01)

    assert (found.rounds, made) == (9, [0, 1, 1, 0] * 4 + [0, 1])
    assert log[:6] == ["a", "b"] * 3
    assert log[6:10] == ["b", "a"] * 2
    assert log[10:14] == ["a", "b"] * 2


def test_fresh_sessions_keep_the_models_apart() -> None:
    log: list[str] = []

    def make(model: int) -> Session:
        return Sleeper(log, str(model), (0.04, 0.002)[model])

    found = fresh_times(make, [{}, {}], threads=2, budget_s=0.01)

    assert found.ratio(1).low > 1
    assert all(slow > fast for slow, fast in zip(*found.seconds, strict=True))
