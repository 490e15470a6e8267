"""An inspection on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from onnxq.report.inspect_result import Body, Signature
from onnxq.report.inspect_text import inspect_text
from onnxq.report.result import FloatNode
from tests.report.inspect_samples import QUANTIZED, sample_inspection

if TYPE_CHECKING:
    from onnxq.report.inspect_result import Inspection


def shown(found: Inspection) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160).print(inspect_text(found))
    return stream.getvalue()


@pytest.mark.parametrize(
    "part",
    [
        "net.onnx, 2.71 MB",
        "IR version 8, opset ai.onnx 17, com.microsoft 1",
        "pen 2",
        f"key0: {'x' * 100}…",
        "… and 2 more, see --json",
        "x: float [N, 3, ?]",
        "y: ? of unknown rank",
        "4 nodes: Conv ×3, [b]Relu",
        "body of Loop 'loop': 7 nodes",
        "abc:Frob: defined by neither ONNX nor onnxruntime",
        "650 k, 2.60 MB",
        "detection: boxes",
        "letterbox (told by the model)",
        "FLOAT: 650 k in 2 arrays, 2.60 MB",
        "INT64: 4 in 1 array, 32 B",
        "1.00 MB in weights.bin",
        "614 kB in 3 float values at stem; 1 values of unknown size left out",
        "x float32[1,3,1]",
        "1 of unknown shape",
        "not counted: LSTM ×2",
        "rewrites that apply: fold-batchnorm ×4",
        "on integers: 2 of 4 nodes, 2 of 3 layers with weights, 90.0 % of multiply-accumulates",
        "600 k MACs",
        "nothing heavy behind it",
        "note: read this",
    ],
)
def test_it_shows(part: str) -> None:
    assert part in shown(sample_inspection())


def test_only_images_need_a_preprocessing() -> None:
    hint = "images need --preprocess"
    image = (Signature("x", "FLOAT", (1, 3, 8, 8)),)
    assert hint in shown(sample_inspection(preprocessing="", inputs=image))
    assert hint not in shown(sample_inspection(preprocessing=""))


def test_layers_add_up() -> None:
    rows = [line.split() for line in shown(sample_inspection()).splitlines()]

    assert ["Conv", "3×3", "×2", "9.00", "M", "90.0", "%"] in rows
    assert ["all", "×3", "10.0", "M"] in rows


def test_the_heaviest_of_what_stays_float_comes_first() -> None:
    text = shown(sample_inspection()).partition("would stay float:")[2]

    assert text.index("large") < text.index("small") < text.index("[b]Relu")


def test_long_lists_are_cut_and_say_so() -> None:
    forecast = sample_inspection().forecast
    assert forecast is not None
    nodes = tuple(FloatNode(f"conv{i}", "Conv", 5, "why") for i in range(20))
    bodies = tuple(Body(f"if{i}", "If", "then_branch", 1) for i in range(10))
    found = sample_inspection(forecast=replace(forecast, stayed_float=nodes), bodies=bodies)

    text = shown(found)
    assert "conv14" in text
    assert "conv15" not in text
    assert "and 5 more" in text
    assert "'if7'" in text
    assert "'if8'" not in text


def test_a_refusal_stands_in_for_what_would_be_done() -> None:
    text = shown(sample_inspection(forecast=None, refusal="weight 'w' holds NaN"))

    assert "optimize refuses it: weight 'w' holds NaN" in text
    assert "would stay float" not in text


def test_a_quantized_model_has_its_share() -> None:
    text = shown(sample_inspection(quantized=QUANTIZED, forecast=None, activations=None))

    assert "quantized already: 6 of 20 nodes (DequantizeLinear ×5, QLinearConv)" in text
    assert "75.0 % of multiply-accumulates between quantized values" in text
    assert "activations" not in text


def test_a_model_from_memory_has_no_size() -> None:
    assert "net.onnx, in memory" in shown(sample_inspection(size=None))
