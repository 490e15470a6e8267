from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.runtime.kernel_times import KernelTime, kernel_times, operator_times, times_in

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N] x) => (float[N] y) { z = Exp (x)  y = Sin (z) }
"""


def run_of(start: int, *kernels: tuple[str, int, int]) -> list[dict[str, Any]]:
    """A run of 100 µs, with kernels (name, start, microseconds)."""
    events = [
        {"name": f"{name}_kernel_time", "ts": start + ts, "dur": dur, "args": {"op_name": name}}
        for name, ts, dur in kernels
    ]
    return [*events, {"name": "model_run", "ts": start, "dur": 100}]


@pytest.mark.parametrize("runs", [2, 5])
def test_kernel_times_list_every_kernel_once(runs: int) -> None:
    times = kernel_times(ir.from_onnx_text(MODEL), {"x": np.ones(9, np.float32)}, runs=runs)
    assert [kernel.op for kernel in times] == ["Exp", "Sin"]
    assert len({kernel.name for kernel in times}) == 2


def test_the_first_run_does_not_count() -> None:
    events = [*run_of(0, ("Conv", 1, 90)), *run_of(200, ("Conv", 1, 30))]
    assert times_in(events) == [KernelTime("Conv", "Conv", 30)]


def test_the_median_of_the_runs_counts() -> None:
    spent = (1, 30, 10, 20)
    events = [event for i, dur in enumerate(spent) for event in run_of(200 * i, ("Conv", 1, dur))]
    assert times_in(events) == [KernelTime("Conv", "Conv", 20)]


def test_a_loop_does_not_count_what_runs_inside_it() -> None:
    run = (("Loop", 10, 50), ("MatMul", 12, 20), ("MatMul", 35, 21), ("Relu", 60, 5))
    events = [*run_of(0, *run), *run_of(200, *run)]
    assert {time.name: time.microseconds for time in times_in(events)} == {
        "Loop": 9,
        "MatMul": 41,
        "Relu": 5,
    }


def test_operator_times_add_up_and_the_longest_comes_first() -> None:
    rows = operator_times(
        [KernelTime("a", "Relu", 500), KernelTime("r", "Conv", 1000), KernelTime("b", "Conv", 500)]
    )
    assert [(row.op, row.kernels, row.milliseconds, row.share) for row in rows] == [
        ("Conv", 2, 1.5, 0.75),
        ("Relu", 1, 0.5, 0.25),
    ]


def test_operators_that_take_no_time_have_no_share() -> None:
    assert [row.share for row in operator_times([KernelTime("a", "Conv", 0)])] == [0.0]
