"""Presets by name and TOML files, with every way to get them wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.data.preprocess import Preprocess
from onnxq.data.presets import PRESETS, load_preprocess
from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FULL = """
resize = "crop"
size = [192, 256]
short_side = 200
filter = "bicubic"
fill = 0
channels = "bgr"
scale = 0.017
mean = [1, 2.5, 3]
std = 2
layout = "nhwc"
"""
KEYS = "resize, size, short_side, filter, fill, channels, scale, mean, std, layout"


def write(folder: Path, text: str) -> Path:
    path = folder / "prep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_preprocess(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("name", ["imagenet", "tf", "yolo", "caffe", "raw"])
def test_presets_load_by_name(name: str) -> None:
    assert load_preprocess(name) is PRESETS[name]


def test_a_file_sets_every_field(tmp_path: Path) -> None:
    assert load_preprocess(write(tmp_path, FULL)) == Preprocess(
        resize="crop",
        size=(192, 256),
        short_side=200,
        filter="bicubic",
        fill=0,
        channels="bgr",
        scale=0.017,
        mean=(1.0, 2.5, 3.0),
        std=(2.0,),
        layout="nhwc",
    )


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_preprocess(str(write(tmp_path, ""))) == Preprocess()


def test_one_number_is_a_square_size(tmp_path: Path) -> None:
    assert load_preprocess(write(tmp_path, "size = 32")).size == (32, 32)


def test_an_unknown_name_lists_the_presets() -> None:
    with pytest.raises(ConfigError) as caught:
        load_preprocess("imagnet")
    assert str(caught.value) == (
        "preprocess 'imagnet' is unknown; choose imagenet, tf, yolo, caffe, raw or give a .toml"
        " file"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml") == (
        "cannot read FILE: No such file or directory; check the path"
    )


@pytest.mark.parametrize("content", [b"size = ", b'resize = "\xff"'], ids=["syntax", "encoding"])
def test_what_is_no_toml_is_refused_on_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prep.toml"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith("FILE is no valid TOML: ")
    assert message.endswith("; mend it")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meen = 3", f"key 'meen' is unknown; valid keys are {KEYS}"),
        ("resize = 3", "resize = 3 is not valid; give a word in quotes"),
        ("size = 2.5", "size = 2.5 is not valid; give one whole number or [height, width]"),
        ("size = true", "size = True is not valid; give one whole number or [height, width]"),
        ("size = [1]", "size = [1] is not valid; give one whole number or [height, width]"),
        ('fill = "gray"', "fill = 'gray' is not valid; give a whole number 0..255"),
        ("short_side = true", "short_side = True is not valid; give a whole number"),
        ('scale = "1/255"', "scale = '1/255' is not valid; give a number"),
        ("scale = true", "scale = True is not valid; give a number"),
        ("mean = []", "mean = [] is not valid; give a number or a list of three"),
        ('std = [1, "a", 2]', "std = [1, 'a', 2] is not valid; give a number or a list of three"),
        ("mean = [1, 2]", "mean has 2 numbers, channels = 'rgb' takes one or 3"),
        (
            'resize = "fit"',
            "resize = 'fit' is unknown; choose one of stretch, crop, letterbox, none",
        ),
    ],
    ids=[
        "key", "word", "size", "size-bool", "size-one", "fill", "whole", "number", "bool",
        "mean-empty", "std-word", "mean-two", "choice",
    ],
)  # fmt: skip
def test_wrong_keys_and_values_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(write(tmp_path, text)) == f"FILE: {message}"
