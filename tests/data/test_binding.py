"""What a model's input settles, and which inputs take no images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from onnxq.data.base import InputSpec
from onnxq.data.preprocess import Preprocess
from onnxq.data.presets import PRESETS
from onnxq.errors import DataError


def image_input(*shape: int | None, dtype: npt.DTypeLike = np.float32) -> InputSpec:
    return InputSpec("x", np.dtype(dtype), shape)


@pytest.mark.parametrize(
    ("shape", "layout", "size"),
    [
        ((1, 3, 8, 6), "nchw", (8, 6)),
        ((None, 8, 6, 3), "nhwc", (8, 6)),
        ((3, 8, 6), "nchw", (8, 6)),
        ((8, 6, 1), "nhwc", (8, 6)),
        ((1, 3, 8, 3), "nchw", (8, 3)),
    ],
    ids=["nchw", "nhwc", "chw", "hwc", "both"],
)
def test_layout_and_size_come_from_the_input(
    shape: tuple[int | None, ...], layout: str, size: tuple[int, int]
) -> None:
    bound = PRESETS["raw"].for_input(image_input(*shape))
    assert (bound.layout, bound.size) == (layout, size)


def test_a_size_fills_in_for_symbolic_dimensions() -> None:
    bound = Preprocess(size=(8, 6)).for_input(image_input(None, 3, None, None))
    assert bound.size == (8, 6)


def test_a_layout_fills_in_for_symbolic_channels() -> None:
    bound = Preprocess(layout="nhwc").for_input(image_input(None, 8, 6, None))
    assert (bound.layout, bound.size, bound.channels) == ("nhwc", (8, 6), "rgb")


@pytest.mark.parametrize(
    ("preprocess", "spec", "message"),
    [
        (
            PRESETS["raw"],
            image_input(None, 10),
            (
                "input 'x' [?, 10] takes no images, which need [N, C, H, W] or [N, H, W, C];"
                " give ready inputs as .npz"
            ),
        ),
        (
            PRESETS["raw"],
            image_input(None, None, None, None),
            (
                "input 'x' [?, ?, ?, ?] does not show where its channels are;"
                ' set layout = "nchw" or "nhwc" in a preprocessing TOML file'
            ),
        ),
        (
            PRESETS["imagenet"],
            image_input(1, 1, 8, 8),
            (
                "input 'x' [1, 1, 8, 8] takes 1 channels, the preprocessing gives 3 (rgb);"
                " set channels, mean and std to match in a preprocessing TOML file"
            ),
        ),
        (
            Preprocess(layout="nchw", channels="gray"),
            image_input(1, 3, 8, 8),
            (
                "input 'x' [1, 3, 8, 8] takes 3 channels, the preprocessing gives 1 (gray);"
                " set channels, mean and std to match in a preprocessing TOML file"
            ),
        ),
        (
            PRESETS["raw"],
            image_input(1, 3, None, 8),
            (
                "input 'x' [1, 3, ?, 8] leaves height or width open; set size = [height, width], or"
                " resize = 'none' for images as they are, in a preprocessing TOML file"
            ),
        ),
        (
            Preprocess(size=(8, 9)),
            image_input(1, 3, 8, 8),
            (
                "input 'x' [1, 3, 8, 8] does not take images of size [8, 9];"
                " leave size out of the preprocessing to take the model's"
            ),
        ),
    ],
    ids=["rank", "channels-open", "one-channel", "gray", "size-open", "other-size"],
)
def test_inputs_that_cannot_take_the_images_are_refused(
    preprocess: Preprocess, spec: InputSpec, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        preprocess.for_input(spec)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("preprocess", "dtype"),
    [
        (PRESETS["raw"], np.uint8),
        (PRESETS["raw"], np.int32),
        (Preprocess(mean=(128.0,)), np.int8),
    ],
    ids=["uint8", "int32", "int8-shifted"],
)
def test_whole_levels_fit_integer_inputs(preprocess: Preprocess, dtype: npt.DTypeLike) -> None:
    spec = image_input(1, 3, 8, 8, dtype=dtype)
    assert preprocess.for_input(spec).size == (8, 8)


@pytest.mark.parametrize(
    ("preprocess", "dtype"),
    [
        (PRESETS["yolo"], np.uint8),
        (PRESETS["imagenet"], np.uint8),
        (PRESETS["raw"], np.int8),
        (PRESETS["caffe"], np.uint8),
        (Preprocess(mean=(0.5,)), np.int32),
    ],
    ids=["scaled", "normalised", "too-large", "negative", "half"],
)
def test_scaled_levels_are_refused_by_integer_inputs(
    preprocess: Preprocess, dtype: npt.DTypeLike
) -> None:
    with pytest.raises(DataError, match=r"takes whole levels.*; use --preprocess raw, or a TOML"):
        preprocess.for_input(image_input(1, 3, 8, 8, dtype=dtype))
