"""``onnxq.toml``: the options of a project, so that ``onnxq optimize MODEL`` needs no others.

    data = "images/"
    preprocess = "yolo"
    weights = 4
    require = ["f1>=0.9", "speedup>=1"]
    report = "report.html"

    [[pipeline.rewrite]]
    name = "fold-batchnorm"

Keys are the options of ``onnxq optimize`` without the dashes in front; ``pipeline`` is a file, or
holds what such a file holds. Paths are relative to the file. What the command line says counts
more than the file, which counts more than a default.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from onnxq.errors import ConfigError
from onnxq.options import PATHS, READERS
from onnxq.toml_file import read_toml

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["COMMAND_LINE", "DEFAULT", "ProjectFile"]

COMMAND_LINE, DEFAULT = "command line", "default"
"""Where an option came from, if not from a file."""

_FILE, _DATA = "onnxq.toml", "data"
_MAYBE_PATHS = frozenset({"preprocess", "target"})


@dataclass(frozen=True)
class ProjectFile:
    """The options that a file holds.

    Attributes:
        source: What messages and reports call the file; empty = there is none.
        options: Option → value, named as the fields of the configuration, "data" among them.
    """

    source: str = ""
    options: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Path | None) -> Self:
        """Reads a file.

        Args:
            given: The file; None = ``onnxq.toml`` in the current folder, if there is one.

        Raises:
            ConfigError: It cannot be read, has an unknown key, or a value that is not allowed; the
                message names the file and the key.
        """
        path = Path(_FILE) if given is None else given
        if given is None and not path.is_file():
            return cls()
        table = read_toml(path)
        options = {_field(str(path), key): value for key, value in table.items()}
        return cls(str(path), {name: _value(path, name, v) for name, v in options.items()})

    def merged(
        self, given: Mapping[str, object], typed: Collection[str]
    ) -> tuple[dict[str, object], dict[str, str]]:
        """Returns options with the file's, and where each came from.

        Args:
            given: All options, as the command line and its defaults have them.
            typed: Those that stand on the command line.
        """
        options, origins = dict(given), {}
        for name in given:
            origins[name] = COMMAND_LINE if name in typed else DEFAULT
            if name in self.options and name not in typed:
                options[name], origins[name] = self.options[name], self.source
        return options, origins


def _field(source: str, key: str) -> str:
    """Returns the field that a key sets."""
    known = [name.replace("_", "-") for name in (_DATA, *READERS)]
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "keys are the options of onnxq optimize"
        raise ConfigError(f"{source}: key '{key}' is unknown; {hint}")
    return key.replace("-", "_")


def _value(path: Path, name: str, value: object) -> object:
    """Returns a value whose reader takes it, with paths relative to the current folder."""
    located = _located(path.parent, name, value)
    try:
        _check_data(value) if name == _DATA else READERS[name](name, located)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return located


def _check_data(value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"--data {value!r} is not allowed; give a path or module:callable")


def _located(folder: Path, name: str, value: object) -> object:
    if not isinstance(value, str) or not value:
        return value
    beside = folder / value
    if name in PATHS or name == "pipeline":
        return str(beside) if value != "-" else value
    if name in _MAYBE_PATHS:
        return str(beside) if value.endswith(".toml") else value
    if name == _DATA and (folder / value.rpartition(":")[0] if ":" in value else beside).exists():
        return str(beside)
    return value
