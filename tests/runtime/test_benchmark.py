import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from onnxq.runtime.benchmark import interleaved_latency, median_interval
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
    assert 2 < found.speedup < 5
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
