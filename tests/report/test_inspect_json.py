"""An inspection for programs."""

from __future__ import annotations

import json

from onnxq.report.inspect_json import inspect_json
from tests.report.inspect_samples import QUANTIZED, sample_inspection


def test_sums_stand_beside_the_parts() -> None:
    report = json.loads(inspect_json(sample_inspection()))

    assert (report["schema"], report["parameters"], report["macs"]) == (1, 650_004, 10_000_000)
    assert report["inputs"] == [{"name": "x", "dtype": "FLOAT", "shape": ["N", 3, "?"]}]
    assert report["activations"] == {"bytes": 614_000, "node": "stem", "values": 3, "unknown": 1}


def test_every_node_is_named_on_one_side_or_the_other() -> None:
    forecast = json.loads(inspect_json(sample_inspection()))["forecast"]

    assert forecast["integer"] == ["a", "b"]
    assert [node["node"] for node in forecast["stayed_float"]] == ["Tail", "small", "large"]


def test_what_is_not_known_is_null() -> None:
    report = json.loads(
        inspect_json(sample_inspection(forecast=None, quantized=QUANTIZED, activations=None))
    )

    assert (report["forecast"], report["activations"]) == (None, None)
    assert report["quantized"]["operators"] == {"DequantizeLinear": 5, "QLinearConv": 1}
