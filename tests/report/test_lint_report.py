"""What lint found, as text, JSON and SARIF."""

from __future__ import annotations

import io
import json

from rich.console import Console

from onnxq.conformance.finding import RULES, Finding, Severity
from onnxq.report.lint_json import lint_json, lint_sarif
from onnxq.report.lint_result import Linted
from onnxq.report.lint_text import lint_text

BIAS = Finding("bias-type", Severity.ERROR, "c1", "Conv", "its bias is quantized", "leave it")
SAME = [
    Finding(
        "float-layer", Severity.NOTE, f"layer{i}", "Conv", "it computes in float", "quantize it"
    )
    for i in range(6)
]
OPEN = Finding("dynamic-shape", Severity.WARNING, "x", "", "input 'x' has an open size", "fix it")
LINTED = Linted("net.onnx", "tensorrt", "TensorRT", "documents", (*SAME, OPEN, BIAS))


def shown(linted: Linted) -> str:
    page = io.StringIO()
    Console(file=page, width=200).print(lint_text(linted), soft_wrap=True)
    return page.getvalue()


def test_the_worst_come_first_and_equal_ones_together() -> None:
    lines = shown(LINTED).splitlines()
    assert lines[0] == "error: c1 (Conv): its bias is quantized [bias-type]"
    assert lines[1] == "  leave it"
    assert lines[2] == "warning: x: input 'x' has an open size [dynamic-shape]"
    assert lines[4].startswith(
        "note: layer0, layer1, layer2, layer3 and 2 more (Conv): it computes"
    )
    assert lines[6] == "net.onnx on tensorrt (TensorRT): 1 error, 1 warning, 6 notes"
    assert lines[7] == "the rules of tensorrt stand on documents"


def test_a_clean_model_is_one_line() -> None:
    clean = Linted("net.onnx", "cpu", "a CPU", "run", ())
    assert shown(clean).splitlines() == ["net.onnx on cpu (a CPU): 0 errors, 0 warnings, 0 notes"]
    assert clean.worst is None
    assert LINTED.worst is Severity.ERROR


def test_json_has_every_finding() -> None:
    report = json.loads(lint_json(LINTED))
    assert list(report) == ["schema", "model", "target", "counts", "findings"]
    assert report["schema"] == 1
    assert report["target"] == {"name": "tensorrt", "summary": "TensorRT", "stands": "documents"}
    assert report["counts"] == {"note": 6, "warning": 1, "error": 1}
    assert report["findings"][-1] == {
        "rule": "bias-type",
        "severity": "error",
        "node": "c1",
        "op": "Conv",
        "text": "its bias is quantized",
        "mend": "leave it",
    }


def test_sarif_names_rules_levels_and_places() -> None:
    log = json.loads(lint_sarif(LINTED, "models\\net.onnx", "1.2.3"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("onnxq", "1.2.3")
    ids = [rule["id"] for rule in driver["rules"]]
    assert ids == ["bias-type", "dynamic-shape", "float-layer"]
    assert driver["rules"][0]["shortDescription"]["text"] == RULES["bias-type"]
    last = run["results"][-1]
    assert (last["ruleId"], last["level"], ids[last["ruleIndex"]]) == (
        "bias-type",
        "error",
        "bias-type",
    )
    assert last["message"]["text"] == "c1: its bias is quantized; leave it"
    place = last["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "models/net.onnx"
    assert place["logicalLocations"] == [{"fullyQualifiedName": "c1", "kind": "node"}]
    assert {result["level"] for result in run["results"]} == {"note", "warning", "error"}
