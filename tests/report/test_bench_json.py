"""A benchmark for programs."""

from __future__ import annotations

import json

from onnxq.report.bench_json import bench_json
from onnxq.runtime.benchmark import Ratio
from tests.report.bench_samples import sample_bench


def test_the_first_model_has_no_ratio_and_the_others_have_theirs() -> None:
    first, second = json.loads(bench_json(sample_bench(Ratio(1.43, 1.39, 1.46))))["models"]

    assert first["speed_against_first"] is None
    assert second["speed_against_first"] == {
        "value": 1.43,
        "low": 1.39,
        "high": 1.46,
        "differs": True,
        "verdict": "1.43× faster (1.39–1.46)",
    }


def test_numbers_come_with_their_units() -> None:
    report = json.loads(bench_json(sample_bench(Ratio(1.0, 0.9, 1.1))))

    assert report["clock"] == "processor"
    assert report["models"][0]["latency_ms"] == {"median": 5.31, "low": 5.2, "high": 5.4}
    assert report["models"][0]["memory_bytes"] == {
        "session": 20_000_000,
        "process_peak": 120_000_000,
        "before": 100_000_000,
    }
    assert report["models"][0]["operators"][0] == {
        "op": "Conv",
        "kernels": 5,
        "milliseconds": 4.0,
        "share": 0.8,
    }


def test_unknown_memory_is_null() -> None:
    report = json.loads(bench_json(sample_bench(Ratio(1.0, 0.9, 1.1), memory=None)))

    assert report["models"][1]["memory_bytes"] is None
