"""The report for programs: JSON with a stable schema.

All that a clock decides is under ``timings``; the rest is the same for the same input, options and
seed. Keys are only ever added within one ``schema`` number. JSON has no infinity: a ratio without
noise is written as 999 dB, one without signal as -999 dB, and one that is no number as null.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onnxq.report.bits import activation_bits
from onnxq.report.json_text import json_text
from onnxq.report.lint_json import finding_object
from onnxq.report.ranges import quant_ranges

if TYPE_CHECKING:
    from onnxq.report.made_for import MadeFor
    from onnxq.report.result import Fidelity, Result
    from onnxq.tasks.base import BoxFidelity

__all__ = ["SCHEMA", "decibels", "fidelity_json", "json_report"]

SCHEMA = 1
_ENDLESS = 999.0


def json_report(result: Result) -> str:
    """Returns the report as JSON text, ending with a line break."""
    report = {
        "schema": SCHEMA,
        "versions": dict(sorted(result.versions.items())),
        "options": dict(result.options),
        "option_origins": dict(result.origins),
        "seed": result.seed,
        "command": result.command,
        "model": {
            "source": result.source,
            "data": result.data,
            "path": None if result.path is None else str(result.path),
            "size_before": result.size_before,
            "size_after": result.size_after,
        },
        "target": _target(result.made_for),
        "fidelity": fidelity_json(result.fidelity),
        "integer_share": result.integer_share,
        "activation_bits": activation_bits(result.plan),
        "ranges": [asdict(one) for one in quant_ranges(result.plan)],
        "weights": [asdict(weight) for weight in result.weights],
        "front": [asdict(point) for point in result.front],
        "heavy_layers": [asdict(layer) for layer in result.heavy],
        "stayed_float": [asdict(node) for node in result.stayed_float],
        "passes": [_without_seconds(asdict(row)) for row in result.trace],
        "notes": [
            {"kind": n.kind.value, "pass": n.source, "where": n.where, "text": n.text}
            for n in result.notes
        ],
        "lint": [finding_object(found) for found in result.findings],
        "warnings": list(result.warnings),
        "timings": {
            "latency": None if result.latency is None else asdict(result.latency),
            "passes": [{"name": row.name, "seconds": row.seconds} for row in result.trace],
        },
    }
    return json_text(report)


def _target(made_for: MadeFor | None) -> dict[str, Any] | None:
    """All but the machine, which decides nothing but times."""
    if made_for is None:
        return None
    return {key: value for key, value in asdict(made_for).items() if key != "machine"}


def fidelity_json(fidelity: Fidelity) -> dict[str, Any]:
    """Returns the part of a report that tells how close outputs are."""
    return {
        "sqnr_db": {name: decibels(ratio) for name, ratio in fidelity.sqnr.items()},
        "agreement": None if fidelity.agreement is None else asdict(fidelity.agreement),
        "held_out_samples": fidelity.samples,
        "task": fidelity.task,
        "recognized": fidelity.recognized,
        "boxes": None if fidelity.boxes is None else _boxes(fidelity.boxes),
    }


def _boxes(boxes: BoxFidelity) -> dict[str, Any]:
    shares = {"precision": boxes.precision, "recall": boxes.recall, "f1": boxes.f1}
    return asdict(boxes) | shares


def decibels(ratio: float) -> float | None:
    """Returns a ratio in dB as JSON can hold it."""
    return None if math.isnan(ratio) else min(max(ratio, -_ENDLESS), _ENDLESS)


def _without_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "seconds"}
