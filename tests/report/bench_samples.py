"""A benchmark with something of everything, for the tests of its reports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnxq.report.bench_result import Bench, ModelBench
from onnxq.runtime.kernel_times import OperatorTime
from onnxq.runtime.memory import SessionMemory

if TYPE_CHECKING:
    from onnxq.runtime.benchmark import Ratio

__all__ = ["sample_bench"]

FIRST = ModelBench(
    name="net.onnx",
    size=2_710_000,
    inputs={"x": "float32[1,3]"},
    ms=5.31,
    low=5.2,
    high=5.4,
    memory=SessionMemory(120_000_000, 100_000_000),
    operators=(OperatorTime("Conv", 5, 4.0, 0.8), OperatorTime("[b]Relu", 3, 1.0, 0.2)),
)


def sample_bench(ratio: Ratio, **changes: object) -> Bench:
    """Two models of that ratio; ``changes`` replace fields of the second."""
    fields: dict[str, Any] = {"name": "net.int8.onnx", "ms": 3.02, "ratio": ratio, **changes}
    return Bench(
        models=(FIRST, replace(FIRST, **fields)),
        rounds=45,
        threads=1,
        provider="CPUExecutionProvider",
        processor_time=True,
        data="random inputs, seed 0",
        versions={"onnxruntime": "1.2.3"},
    )
