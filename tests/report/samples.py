"""A result with something of everything, for the tests of its reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.report.result import (
    Fidelity,
    FloatNode,
    HeavyLayer,
    Latency,
    Result,
    TraceRow,
)
from onnxq.tasks.base import Agreement, BoxFidelity

__all__ = ["sample_result"]


def sample_result(**changes: object) -> Result:
    """A detector-like result; ``changes`` replace fields."""
    fields: dict[str, Any] = {
        "model": ir.Model(ir.Graph([], [], nodes=[]), ir_version=10),
        "plan": QuantPlan(),
        "path": Path("net.int8.onnx"),
        "source": "net.onnx",
        "size_before": 2_710_000,
        "size_after": 840_000,
        "latency": Latency(5.31, 3.02, 1.758, 1.71, 1.80),
        "fidelity": Fidelity(
            {"logits": 31.24, "boxes": 40.0},
            Agreement.of(63, 64),
            BoxFidelity(wanted=20, found=25, matched=18, mean_iou=0.91, mean_ap=0.8),
            task="detection",
            recognized="detection: one output",
            samples=64,
        ),
        "integer_share": 0.9731,
        "stayed_float": (
            FloatNode("stem", "Conv", 12_345_678, "its range collapses"),
            FloatNode("decode_mul", "Mul", 0, "output tail"),
            FloatNode("decode_add", "Add", 0, "output tail"),
            FloatNode("decode_add_2", "Add", 0, "output tail"),
        ),
        "heavy": (
            HeavyLayer("stem", "Conv", 12_345_678, integer=False),
            HeavyLayer("body", "Conv", 450_000_000, integer=True),
        ),
        "notes": (Note(NoteKind.REFUSED, "fold-batchnorm", "bn_1", "its weight is shared"),),
        "trace": (
            TraceRow("fold-batchnorm", "rewrite", 0.25, modified=True, fired=3, refused=1),
            TraceRow("broken", "rewrite", 0.1, modified=False, rolled_back="value 'x' differs"),
        ),
        "warnings": ("the data holds 64 samples, 100 were asked for",),
        "options": {"samples": 64, "keep_float": ["head.*"]},
        "versions": {"onnxq": "0.1.0", "onnx": "1.19"},
        "seed": 0,
    }
    fields.update(changes)
    return Result(**fields)
