"""From image to input: values, channel order, layout, and how the model fills in the rest."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from onnxq.data.base import InputSpec
from onnxq.data.preprocess import Preprocess
from onnxq.data.preprocessor import Preprocessor
from onnxq.data.presets import PRESETS
from onnxq.errors import ConfigError, DataError

NCHW = InputSpec("x", np.dtype(np.float32), (1, 3, 2, 2))
NHWC = InputSpec("x", np.dtype(np.float32), (None, 2, 2, 3))
ORANGE = Image.new("RGB", (2, 2), (255, 128, 0))


def first_pixel(name: str, spec: InputSpec = NCHW) -> list[float]:
    result = Preprocessor(PRESETS[name].for_input(spec))(ORANGE)
    pixel = result[:, 0, 0] if spec is NCHW else result[0, 0]
    return [float(value) for value in pixel]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "imagenet",
            [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (0 - 0.406) / 0.225],
        ),
        ("tf", [1, 128 / 127.5 - 1, -1]),
        ("yolo", [1, 128 / 255, 0]),
        ("caffe", [0 - 104, 128 - 117, 255 - 123]),
        ("raw", [255, 128, 0]),
    ],
)
@pytest.mark.parametrize("spec", [NCHW, NHWC], ids=["nchw", "nhwc"])
def test_presets_compute_their_formula(name: str, expected: list[float], spec: InputSpec) -> None:
    assert first_pixel(name, spec) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_result_is_contiguous_float32_in_the_models_layout() -> None:
    image = Image.new("RGB", (9, 7))
    wide = InputSpec("x", np.dtype(np.float32), (1, 3, 4, 6))
    result = Preprocessor(PRESETS["raw"].for_input(wide))(image)
    assert result.shape == (3, 4, 6)
    assert result.dtype == np.dtype(np.float32)
    assert result.flags.c_contiguous


def test_crop_equals_the_usual_recipe_for_classifiers() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    by_hand = image.resize((341, 256), Image.Resampling.BILINEAR).crop((58, 16, 282, 240))
    spec = InputSpec("x", np.dtype(np.float32), (1, 3, 224, 224))
    cropped = Preprocessor(PRESETS["imagenet"].for_input(spec))(image)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    levels = (cropped.transpose(1, 2, 0) * std + mean) * 255
    difference = np.abs(levels - np.asarray(by_hand))
    assert difference.max() < 1.001
    assert difference.mean() < 0.01


def test_letterbox_fills_before_normalising() -> None:
    image = Image.new("RGB", (2, 1), (255, 255, 255))
    result = Preprocessor(PRESETS["yolo"].for_input(NCHW))(image)
    assert result[0].tolist() == [[1, 1], [pytest.approx(114 / 255)] * 2]


def test_gray_gives_one_channel() -> None:
    spec = InputSpec("x", np.dtype(np.float32), (1, 1, 2, 2))
    bound = Preprocess(channels="gray", scale=0.5).for_input(spec)
    assert Preprocessor(bound)(Image.new("RGB", (2, 2), (90, 90, 90))).tolist() == [
        [[45, 45], [45, 45]]
    ]


def test_one_channel_turns_plain_presets_gray() -> None:
    spec = InputSpec("x", np.dtype(np.float32), (1, 28, 28, 1))
    bound = PRESETS["tf"].for_input(spec)
    assert (bound.channels, bound.layout, bound.size) == ("gray", "nhwc", (28, 28))
    assert Preprocessor(bound)(ORANGE).shape == (28, 28, 1)


def test_images_of_any_mode_are_taken_upright() -> None:
    image = Image.fromarray(np.array([[10, 20]], np.uint8))
    image.getexif()[0x0112] = 3  # upside down
    bound = Preprocess(resize="none", layout="nhwc")
    assert Preprocessor(bound)(image)[:, :, 0].tolist() == [[20, 10]]


def test_none_takes_images_as_they_are() -> None:
    open_size = InputSpec("x", np.dtype(np.float32), (1, 3, None, None))
    bound = Preprocess(resize="none").for_input(open_size)
    assert bound.size is None
    assert Preprocessor(bound)(Image.new("RGB", (5, 4))).shape == (3, 4, 5)


def test_none_refuses_an_image_of_another_size() -> None:
    bound = Preprocess(resize="none").for_input(NCHW)
    with pytest.raises(DataError) as caught:
        Preprocessor(bound)(Image.new("RGB", (5, 4)))
    assert str(caught.value) == (
        "the image has 4x5 pixels, not 2x2; choose a resize rule other than 'none'"
    )


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (Preprocess(size=(4, 4)), "layout = 'auto' needs a model's input; bind it first"),
        (Preprocess(layout="nchw"), "no size is given; set size = [height, width]"),
    ],
    ids=["layout", "size"],
)
def test_what_is_not_bound_is_not_applied(preprocess: Preprocess, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Preprocessor(preprocess)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"resize": "squash"},
            "resize = 'squash' is unknown; choose one of stretch, crop, letterbox, none",
        ),
        (
            {"filter": "cubic"},
            (
                "filter = 'cubic' is unknown;"
                " choose one of bilinear, bicubic, nearest, lanczos, area, hamming"
            ),
        ),
        ({"channels": "hsv"}, "channels = 'hsv' is unknown; choose one of rgb, bgr, gray"),
        ({"layout": "chw"}, "layout = 'chw' is unknown; choose one of auto, nchw, nhwc"),
        ({"size": (0, 4)}, "size = [0, 4] must be positive"),
        ({"fill": 256}, "fill = 256 must lie in 0..255"),
        ({"size": (8, 9), "short_side": 7}, "short_side = 7 must be 8 or more"),
        ({"short_side": 0}, "short_side = 0 must be 1 or more"),
        ({"mean": (1.0, 2.0)}, "mean has 2 numbers, channels = 'rgb' takes one or 3"),
        (
            {"std": (1.0, 2.0, 3.0), "channels": "gray"},
            "std has 3 numbers, channels = 'gray' takes one",
        ),
        ({"std": (0.0,)}, "scale, mean and std must be finite, scale and std not zero"),
        ({"scale": 0.0}, "scale, mean and std must be finite, scale and std not zero"),
        ({"mean": (np.nan,)}, "scale, mean and std must be finite, scale and std not zero"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Preprocess(**fields)
    assert str(caught.value) == f"preprocess: {message}"


@pytest.mark.parametrize(
    ("preprocess", "line"),
    [
        (
            PRESETS["imagenet"].for_input(InputSpec("x", np.dtype("f4"), (1, 3, 224, 224))),
            (
                "crop to 224x224 (shorter side 256, bilinear), rgb,"
                " (x/255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], layout nchw"
            ),
        ),
        (PRESETS["tf"], "stretch to the model's input (bilinear), rgb, x/127.5 - 1, layout auto"),
        (
            PRESETS["yolo"],
            "letterbox to the model's input (fill 114, bilinear), rgb, x/255, layout auto",
        ),
        (
            PRESETS["caffe"],
            "crop to the model's input (bilinear), bgr, x - [104, 117, 123], layout auto",
        ),
        (Preprocess(resize="none", scale=2.0), "no resize, rgb, x*2, layout auto"),
    ],
    ids=["imagenet", "tf", "yolo", "caffe", "none"],
)
def test_describe_says_all_on_one_line(preprocess: Preprocess, line: str) -> None:
    assert preprocess.describe() == line


def test_a_float_image_pipeline_keeps_pixel_levels_exact() -> None:
    pixels: npt.NDArray[np.uint8] = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    result = Preprocessor(PRESETS["raw"].for_input(NHWC))(Image.fromarray(pixels))
    assert np.array_equal(result, pixels)
