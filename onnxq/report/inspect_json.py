"""An inspection for programs: JSON with a stable schema, to which keys are only ever added."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from onnxq.report.json_text import json_text

if TYPE_CHECKING:
    from onnxq.report.inspect_result import Inspection

__all__ = ["SCHEMA", "inspect_json"]

SCHEMA = 1


def inspect_json(found: Inspection) -> str:
    """Returns the inspection as JSON text, ending with a line break."""
    peak = found.activations
    report = {
        "schema": SCHEMA,
        **asdict(found),
        "parameters": found.parameters,
        "macs": found.macs,
        "activations": None if peak is None else peak._asdict(),
    }
    return json_text(report)
