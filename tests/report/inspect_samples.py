"""An inspection with something of everything, for the tests of its reports."""

from __future__ import annotations

from dataclasses import replace

from onnxq.graph.layers import LayerKind
from onnxq.graph.liveness import LivePeak
from onnxq.report.inspect_result import Body, Forecast, Inspection, Quantized, Signature, Storage
from onnxq.report.result import FloatNode

__all__ = ["QUANTIZED", "sample_inspection"]

QUANTIZED = Quantized({"DequantizeLinear": 5, "QLinearConv": 1}, 20, 3_000_000, 4_000_000)

_SAMPLE = Inspection(
    name="net.onnx",
    size=2_710_000,
    ir_version=8,
    opsets={"ai.onnx": 17, "com.microsoft": 1},
    producer="pen 2",
    metadata={f"key{i}": "x" * 200 for i in range(10)},
    inputs=(Signature("x", "FLOAT", ("N", 3, "?")),),
    outputs=(Signature("y", "?", None),),
    operators={"Conv": 3, "[b]Relu": 1},
    bodies=(Body("loop", "Loop", "body", 7),),
    functions=2,
    unknown=("abc:Frob",),
    storage=(Storage("FLOAT", 2, 650_000, 2_600_000, 1_000_000), Storage("INT64", 1, 4, 32, 0)),
    external_files=("weights.bin",),
    layers=(LayerKind("Conv 3×3", 2, 9_000_000), LayerKind("Conv 1×1", 1, 1_000_000, unknown=1)),
    uncounted={"LSTM": 2},
    activations=LivePeak(614_000, "stem", 3, 1),
    fed={"x": "float32[1,3,1]"},
    task="detection: boxes",
    preprocessing="letterbox (told by the model)",
    forecast=Forecast(
        rewrites={"fold-batchnorm": 4},
        nodes=4,
        integer=("a", "b"),
        integer_layers=2,
        layers=3,
        integer_macs=9_000_000,
        macs=10_000_000,
        stayed_float=(
            FloatNode("Tail", "[b]Relu", 0, "nothing heavy behind it"),
            FloatNode("small", "Conv", 400_000, "slower on integers"),
            FloatNode("large", "Conv", 600_000, "slower on integers"),
        ),
    ),
    notes=("read this",),
)


def sample_inspection(**changes: object) -> Inspection:
    """``changes`` replace fields."""
    return replace(_SAMPLE, **changes)  # type: ignore[arg-type]
