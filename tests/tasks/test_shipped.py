"""The shipped models are recognized on pictures of theirs, and on noise too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.tasks.recognize import recognize
from tests.support import run

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("digits_mobilenetv2", 64, "classification: logits holds scores of 10 classes"),
        ("digits_vit", 64, "classification: logits holds scores of 10 classes"),
        ("digits_yolo", 160, "one output [1, 14, 525], boxes cx cy w h beside 10 scores"),
    ],
)
def test_a_shipped_model_is_recognized(name: str, side: int, said: str) -> None:
    path = MODELS / f"{name}.onnx"
    picture = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    source = ir.load(path)
    feed = {str(source.graph.inputs[0].name): picture}

    assert said in recognize(source, [run(path.read_bytes(), feed)], picture.shape).description
