"""Preprocessing by name, or from a TOML file.

The presets: ImageNet's constants as torchvision's classifiers use them; TensorFlow's -1..1; the
letterbox of the YOLO family; Caffe's BGR means; plain levels 0..255.
"""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnxq.data.preprocess import Preprocess
from onnxq.errors import ConfigError
from onnxq.toml_file import read_toml

if TYPE_CHECKING:
    from collections.abc import Callable

PRESETS = MappingProxyType(
    {
        "imagenet": Preprocess(
            resize="crop", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
        ),
        "tf": Preprocess(scale=1 / 127.5, mean=(1.0,)),
        "yolo": Preprocess(resize="letterbox", scale=1 / 255),
        "caffe": Preprocess(resize="crop", channels="bgr", mean=(104.0, 117.0, 123.0)),
        "raw": Preprocess(),
    }
)


def load_preprocess(name_or_path: str | os.PathLike[str]) -> Preprocess:
    """Returns a preset, or reads a TOML file with the fields of `Preprocess` as keys.

    Args:
        name_or_path: One of `PRESETS`, or the path of a TOML file.

    Returns:
        The preprocessing, not yet bound to a model (see `Preprocess.for_input`).

    Raises:
        ConfigError: Neither a preset nor a readable file, or a key or value is not valid.
    """
    text = os.fspath(name_or_path)
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text)
    if path.suffix.lower() != ".toml":
        raise ConfigError(
            f"preprocess '{text}' is unknown; choose {', '.join(PRESETS)} or give a .toml file"
        )
    return _from_table(text, read_toml(path))


def _from_table(path: str, table: dict[str, object]) -> Preprocess:
    names = [field.name for field in fields(Preprocess)]
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in names:
            raise ConfigError(f"{path}: key '{key}' is unknown; valid keys are {', '.join(names)}")
        reader, wanted = _READERS[key]
        parsed = reader(value)
        if parsed is None:
            raise ConfigError(f"{path}: {key} = {value!r} is not valid; give {wanted}")
        values[key] = parsed
    try:
        return Preprocess(**values)  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(f"{path}: {str(error).removeprefix('preprocess: ')}") from None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _numbers(value: object) -> tuple[float, ...] | None:
    parsed = [_number(item) for item in (value if isinstance(value, list) else [value])]
    numbers = tuple(number for number in parsed if number is not None)
    return numbers if len(numbers) == len(parsed) > 0 else None


def _size(value: object) -> tuple[int, int] | None:
    match [_whole(item) for item in (value if isinstance(value, list) else [value, value])]:
        case [int(height), int(width)]:
            return height, width
    return None


_READERS: dict[str, tuple[Callable[[object], object | None], str]] = {
    "resize": (_word, "a word in quotes"),
    "size": (_size, "one whole number or [height, width]"),
    "short_side": (_whole, "a whole number"),
    "filter": (_word, "a word in quotes"),
    "fill": (_whole, "a whole number 0..255"),
    "channels": (_word, "a word in quotes"),
    "scale": (_number, "a number"),
    "mean": (_numbers, "a number or a list of three"),
    "std": (_numbers, "a number or a list of three"),
    "layout": (_word, "a word in quotes"),
}
