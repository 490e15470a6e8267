"""The command that gives a result again."""

from __future__ import annotations

import os
import shlex
from dataclasses import fields
from typing import TYPE_CHECKING

from onnxq.options import flag
from onnxq.pipeline_file import Pipeline

if TYPE_CHECKING:
    from onnxq.config import Config

__all__ = ["command"]

_REPEATED = ("budget", "keep_float", "require")


def command(source: object, data: object, config: Config) -> str:
    """Returns the words to type: model, data, and all options that are not the default.

    Args:
        source: The model as it was given.
        data: The data as they were given, or None.
        config: The options.

    Returns:
        Empty where something was given as a Python object, which no command can name.
    """
    given = [source] if data is None else [source, data]
    if not all(isinstance(one, str | os.PathLike) for one in given):
        return ""
    words = ["onnxq", "optimize", os.fspath(source)]  # type: ignore[call-overload]
    if data is not None:
        words += ["--data", os.fspath(data)]  # type: ignore[call-overload]
    for item in fields(config):
        value = getattr(config, item.name)
        if value == item.default:
            continue
        if isinstance(value, Pipeline):
            if not value.path:
                return ""
            value = value.path
        words += _words(item.name, value)
    return shlex.join(words)


def _words(name: str, value: object) -> list[str]:
    if value is True:
        return [flag(name)]
    if not isinstance(value, tuple):
        return [flag(name), str(value)]
    if name in _REPEATED:
        return [word for one in value for word in (flag(name), str(one))]
    return [flag(name), ",".join(map(str, value))]
