"""A benchmark for programs: JSON with a stable schema, to which keys are only ever added."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onnxq.report.bench_text import verdict
from onnxq.report.json_text import json_text

if TYPE_CHECKING:
    from onnxq.report.bench_result import Bench, ModelBench

__all__ = ["SCHEMA", "bench_json"]

SCHEMA = 1


def bench_json(bench: Bench) -> str:
    """Returns the benchmark as JSON text, ending with a line break."""
    report = {
        "schema": SCHEMA,
        "versions": dict(sorted(bench.versions.items())),
        "threads": bench.threads,
        "provider": bench.provider,
        "clock": "processor" if bench.processor_time else "wall",
        "data": bench.data,
        "seed": bench.seed,
        "rounds": bench.rounds,
        "models": [_model(model) for model in bench.models],
    }
    return json_text(report)


def _model(model: ModelBench) -> dict[str, Any]:
    ratio, memory = model.ratio, model.memory
    return {
        "name": model.name,
        "size": model.size,
        "inputs": dict(model.inputs),
        "latency_ms": {"median": model.ms, "low": model.low, "high": model.high},
        "speed_against_first": None
        if ratio is None
        else {**asdict(ratio), "differs": ratio.clear, "verdict": verdict(ratio)},
        "memory_bytes": None
        if memory is None
        else {"session": memory.session, "process_peak": memory.peak, "before": memory.before},
        "operators": [asdict(row) for row in model.operators],
    }
