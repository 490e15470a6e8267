"""The shipped models are what `models/README.md` says they are."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tools.models.evaluate import detector_map, open_session, top1
from tools.models.testset import (
    MODELS,
    load_coco,
    load_picture,
    load_recipe,
    load_sheet,
    pictures_of,
)

if TYPE_CHECKING:
    from pathlib import Path

CLASSIFIER = MODELS / "digits_mobilenetv2.onnx"
DETECTOR = MODELS / "digits_yolo.onnx"
TRANSFORMER = MODELS / "digits_vit.onnx"
EACH = pytest.mark.parametrize(
    "path", [CLASSIFIER, DETECTOR, TRANSFORMER], ids=["classifier", "detector", "transformer"]
)
MEGABYTE = 1_000_000


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def stated_metric(path: Path) -> float:
    """Read the bold number in the model's row of the table in the README."""
    rows = (MODELS / "README.md").read_text().splitlines()
    row = next(row for row in rows if row.startswith(f"| `{path.name}`"))
    found = re.search(r"\*\*([0-9.]+)\*\*", row)
    assert found is not None
    return float(found[1])


@EACH
def test_model_is_valid_and_smaller_than_three_megabytes(path: Path) -> None:
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert path.stat().st_size < 3 * MEGABYTE


@EACH
def test_calibration_folder_holds_64_pictures_of_the_input_size(path: Path) -> None:
    files = sorted((pictures_of(path.stem) / "calibration").iterdir())
    side = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    assert len(files) == 64
    assert {load_picture(file).shape for file in files} == {(side, side, 3)}


def test_everything_shipped_stays_below_fourteen_megabytes() -> None:
    assert sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) < 14 * MEGABYTE


def test_classifier_keeps_batch_normalization_and_has_the_mobilenet_operators() -> None:
    count = operators(CLASSIFIER)
    assert count["BatchNormalization"] == count["Conv"]
    assert count["Clip"] > 10
    assert count["Add"] > 0


def test_classifier_has_depthwise_convolutions() -> None:
    groups = [
        attribute.i
        for node in onnx.load(CLASSIFIER).graph.node
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    assert sum(group > 1 for group in groups) >= 10


def test_transformer_is_spelled_out_as_pytorch_exports_it() -> None:
    count = operators(TRANSFORMER)
    assert count["LayerNormalization"] == 7
    assert count["Softmax"] == count["Erf"] == 3
    assert count["Shape"] > 5
    assert count["Gelu"] == count["Attention"] == 0


def test_transformer_shares_the_classifiers_preprocessing() -> None:
    assert load_recipe(MODELS / "digits_vit.toml") == load_recipe(
        MODELS / "digits_mobilenetv2.toml"
    )


@pytest.mark.parametrize("path", [CLASSIFIER, TRANSFORMER], ids=["classifier", "transformer"])
@pytest.mark.parametrize("batch", [1, 3])
def test_classifiers_take_any_batch(path: Path, batch: int) -> None:
    session = open_session(path)
    logits = session.run(
        None, {session.get_inputs()[0].name: np.zeros((batch, 3, 64, 64), np.float32)}
    )[0]
    assert logits.shape == (batch, 10)


def test_detector_has_the_operators_of_an_exported_yolo() -> None:
    count = operators(DETECTOR)
    assert count["BatchNormalization"] == 0
    assert count["MaxPool"] == 3
    assert count["Resize"] == 2
    assert count["Sigmoid"] > 50
    assert count["Softmax"] == 1
    assert count["Concat"] > 10


def test_detector_has_one_output_with_pixels_beside_scores() -> None:
    session = open_session(DETECTOR)
    (output,) = session.get_outputs()
    assert output.shape == [1, 14, 525]
    pictures = load_coco(MODELS / "digits_yolo" / "test").pictures[:1]
    inputs = load_recipe(MODELS / "digits_yolo.toml").apply(pictures)
    (values,) = session.run(None, {session.get_inputs()[0].name: inputs})
    assert values[0, :4].max() > 50
    assert values[0, 4:].min() >= 0
    assert 0.3 < values[0, 4:].max() <= 1


@EACH
def test_onnxruntime_agrees_with_itself_with_and_without_optimizations(path: Path) -> None:
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = [
        open_session(path),
        ort.InferenceSession(path, plain, providers=["CPUExecutionProvider"]),
    ]
    side = sessions[0].get_inputs()[0].shape[-1]
    inputs = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    first, second = (
        session.run(None, {session.get_inputs()[0].name: inputs})[0] for session in sessions
    )
    np.testing.assert_allclose(first, second, atol=1e-5 * np.abs(second).max(), rtol=0)


def test_test_sets_hold_every_class() -> None:
    _, labels = load_sheet(MODELS / "digits_mobilenetv2" / "test")
    assert set(labels) == set(range(10))
    assert set(np.concatenate(load_coco(MODELS / "digits_yolo" / "test").labels)) == set(range(10))


@pytest.mark.parametrize("path", [CLASSIFIER, TRANSFORMER], ids=["classifier", "transformer"])
def test_classifiers_reach_the_stated_accuracy(path: Path) -> None:
    assert top1(open_session(path))[0] == pytest.approx(stated_metric(path), abs=0.1)


def test_detector_reaches_the_stated_precision() -> None:
    assert detector_map(open_session(DETECTOR))[0] == pytest.approx(
        stated_metric(DETECTOR), abs=0.1
    )
