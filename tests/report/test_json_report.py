"""The report for programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from onnxq.report.json_report import json_report
from onnxq.report.result import Fidelity, Latency
from tests.report.samples import sample_result


def test_schema_and_top_level_keys_are_stable() -> None:
    report = json.loads(json_report(sample_result()))

    assert report["schema"] == 1
    assert list(report) == [
        "schema",
        "versions",
        "options",
        "option_origins",
        "seed",
        "command",
        "model",
        "target",
        "fidelity",
        "integer_share",
        "activation_bits",
        "ranges",
        "weights",
        "front",
        "heavy_layers",
        "stayed_float",
        "passes",
        "notes",
        "lint",
        "warnings",
        "timings",
    ]


def test_values_are_those_of_the_result() -> None:
    report = json.loads(json_report(sample_result()))

    assert report["model"]["path"] == "net.int8.onnx"
    assert report["fidelity"]["sqnr_db"] == {"logits": 31.24, "boxes": 40.0}
    assert report["fidelity"]["agreement"]["n"] == 64
    assert report["fidelity"]["task"] == "detection"
    assert report["fidelity"]["boxes"]["f1"] == 0.8
    assert report["fidelity"]["boxes"]["mean_iou"] == 0.91
    assert report["heavy_layers"][1] == {
        "node": "body",
        "op": "Conv",
        "macs": 450_000_000,
        "integer": True,
    }
    assert report["notes"] == [
        {
            "kind": "refused",
            "pass": "fold-batchnorm",
            "where": "bn_1",
            "text": "its weight is shared",
        }
    ]
    assert report["passes"][1]["rolled_back"] == "value 'x' differs"


def test_only_timings_depend_on_the_clock() -> None:
    result = sample_result()
    later = sample_result(
        latency=Latency(9.0, 8.0, 1.1, 1.0, 1.2),
        trace=tuple(replace(row, seconds=row.seconds + 1) for row in result.trace),
    )

    one, other = (json.loads(json_report(item)) for item in (result, later))

    assert one.pop("timings") != other.pop("timings")
    assert json.dumps(one) == json.dumps(other)


def test_equal_results_give_equal_bytes() -> None:
    assert json_report(sample_result()) == json_report(sample_result())


def test_ratios_that_json_cannot_say_have_stand_ins() -> None:
    ratios = {"same": math.inf, "silent": -math.inf, "broken": math.nan}
    report = json.loads(json_report(sample_result(fidelity=Fidelity(ratios))))

    assert report["fidelity"]["sqnr_db"] == {"same": 999, "silent": -999, "broken": None}


def test_what_was_not_measured_is_null() -> None:
    report = json.loads(json_report(sample_result(latency=None, path=None)))

    assert report["timings"]["latency"] is None
    assert report["model"]["path"] is None
