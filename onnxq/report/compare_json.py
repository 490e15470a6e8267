"""A comparison for programs: JSON with a stable schema, to which keys are only ever added."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onnxq.report.compare_text import verdict
from onnxq.report.json_report import decibels, fidelity_json
from onnxq.report.json_text import json_text

if TYPE_CHECKING:
    from onnxq.report.compare_result import ComparedLayer, CompareResult

__all__ = ["SCHEMA", "compare_json"]

SCHEMA = 1


def compare_json(compared: CompareResult) -> str:
    """Returns the comparison as JSON text, ending with a line break."""
    report = {
        "schema": SCHEMA,
        "versions": dict(sorted(compared.versions.items())),
        "first": compared.first,
        "second": compared.second,
        "data": compared.data,
        "seed": compared.seed,
        "fidelity": fidelity_json(compared.fidelity),
        "verdict": verdict(compared),
        "guilty": None if compared.guilty is None else compared.guilty.node,
        "drawings": [str(path) for path in compared.drawn],
        "layers": [_layer(layer) for layer in compared.layers],
    }
    return json_text(report)


def _layer(layer: ComparedLayer) -> dict[str, Any]:
    ratios = {"before": layer.before, "whole": layer.whole, "own": layer.own}
    rest = {key: item for key, item in asdict(layer).items() if key not in ratios}
    return rest | {f"{key}_db": decibels(ratio) for key, ratio in ratios.items()}
