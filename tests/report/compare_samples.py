"""A comparison made by hand."""

from __future__ import annotations

import math

from onnxq.report.compare_result import ComparedLayer, CompareResult
from onnxq.report.result import Fidelity

__all__ = ["layer", "sample_compared"]


def layer(node: str, own: float, share: float | None = None, **more: float) -> ComparedLayer:
    whole, before = more.get("whole", own), more.get("before", math.inf)
    return ComparedLayer(
        node=node, op="Conv", value=f"{node}_out", before=before, whole=whole, own=own, share=share
    )


def sample_compared(*layers: ComparedLayer, sqnr: float = 12.0) -> CompareResult:
    fidelity = Fidelity({"y": sqnr}, task="generic", recognized="generic: y", samples=200)
    return CompareResult(
        first="net.onnx",
        second="net.int8.onnx",
        data="200 samples; here",
        fidelity=fidelity,
        layers=layers,
    )
