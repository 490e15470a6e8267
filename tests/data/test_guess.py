"""What a model tells about its preprocessing, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.data.guess import guess_preprocess
from onnxq.data.presets import PRESETS
from onnxq.graph.integer_io import KEY
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import onnx_ir as ir

ULTRALYTICS = {"names": "{0: 'a'}", "stride": "32"}
PIXELS = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}


def network(shape: str = "1,3,32,48", dtype: str = "float", **metadata: str) -> ir.Model:
    model = build(f"f ({dtype}[{shape}] x) => ({dtype}[{shape}] y) {{ y = Identity(x) }}")
    model.metadata_props.update(metadata)
    return model


@pytest.mark.parametrize("task", ["detect", "segment", "pose", None])
def test_rule_1_ultralytics_detectors_take_a_letterbox(task: str | None) -> None:
    metadata = ULTRALYTICS | ({} if task is None else {"task": task})
    guess = guess_preprocess(network(**metadata))
    assert guess is not None
    assert guess.preprocess == PRESETS["yolo"]
    assert f"task {task or 'detect'}" in guess.reason


def test_rule_1_ultralytics_classifiers_take_the_centre() -> None:
    guess = guess_preprocess(network(task="classify", **ULTRALYTICS))
    assert guess is not None
    rule = guess.preprocess
    assert (rule.resize, rule.short_side, rule.scale, rule.mean) == ("crop", 32, 1 / 255, (0.0,))


@pytest.mark.parametrize("missing", ["names", "stride"])
def test_rule_1_half_of_it_tells_nothing(missing: str) -> None:
    metadata = {key: value for key, value in ULTRALYTICS.items() if key != missing}
    assert guess_preprocess(network(**metadata)) is None


@pytest.mark.parametrize(
    ("pixels", "levels", "channels", "scale", "mean"),
    [
        ("Bgr8", "NominalRange_0_255", "bgr", 1.0, 0.0),
        ("Rgb8", "Normalized_0_1", "rgb", 1 / 255, 0.0),
        ("Gray8", "Normalized_1_1", "gray", 1 / 127.5, 1.0),
        ("Bgra8", "Normalized_0_1", "bgr", 1 / 255, 0.0),
    ],
)
def test_rule_2_image_metadata_tell_order_and_range(
    pixels: str, levels: str, channels: str, scale: float, mean: float
) -> None:
    metadata = {"Image.BitmapPixelFormat": pixels, "Image.NominalPixelRange": levels}
    guess = guess_preprocess(network(**metadata))
    assert guess is not None
    rule = guess.preprocess
    assert (rule.channels, rule.scale, rule.mean) == (channels, scale, (mean,))
    assert pixels in guess.reason


@pytest.mark.parametrize(
    "changed",
    [{"Image.BitmapPixelFormat": "Yuv8"}, {"Image.NominalPixelRange": "NominalRange_16_235"}],
    ids=["format", "range"],
)
def test_rule_2_unknown_words_tell_nothing(changed: dict[str, str]) -> None:
    assert guess_preprocess(network(**(PIXELS | changed))) is None


def test_rule_3_an_input_of_codes_takes_no_levels() -> None:
    assert guess_preprocess(network(dtype="uint8", **{KEY: "{}"})) is None


def test_rule_3_an_input_of_bytes_takes_levels() -> None:
    guess = guess_preprocess(network(dtype="uint8"))
    assert guess is not None
    assert guess.preprocess == PRESETS["raw"]
    assert "'x'" in guess.reason


def test_a_float_input_alone_tells_nothing() -> None:
    assert guess_preprocess(network()) is None


def test_two_inputs_or_another_rank_tell_nothing() -> None:
    assert guess_preprocess(network("1,10", dtype="uint8")) is None
    two = build("f (uint8[1,3,4,4] a, uint8[1,3,4,4] b) => (uint8[1,3,4,4] y) { y = Add(a, b) }")
    assert guess_preprocess(two) is None
