"""How each option's value is read: what is allowed, and the one line that says so otherwise.

A reader takes the option's name and what the user gave, and returns the value in its own type.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

from onnxq.budget import Budget
from onnxq.calibration_method import CalibrationMethod
from onnxq.errors import ConfigError
from onnxq.pipeline_file import Pipeline

__all__ = [
    "FIDELITIES",
    "METRICS",
    "PATHS",
    "READERS",
    "SENSITIVITIES",
    "Choice",
    "Requirement",
    "flag",
    "folder_option",
]

FIDELITIES = ("sqnr", "agreement", "f1")
"""Those of :data:`METRICS` that tell how close outputs are."""

MINIMIZED = ("size", "latency")
"""What ``--minimize`` can save."""

SENSITIVITIES = ("auto", "measured", "quadratic", "trace", "eigenvalue", "sqnr")
"""How ``--sensitivity`` tells what the bits of a layer cost (``onnxq.search.bit_costs``); auto is
"quadratic", and "measured" as well where ``onnxq.search.cost_method`` finds that affordable."""

METRICS = ("sqnr", "agreement", "f1", "speedup", "integer")
"""What ``--require`` can bound: dB of the worst output, share, share, ratio, share."""

_SHARES = ("agreement", "f1", "integer")
_OPSETS = range(21, 26)
_REQUIREMENT = re.compile(r"\s*(\w+)\s*>=\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound that the result must reach, such as ``sqnr>=20``.

    Attributes:
        metric: One of :data:`METRICS`.
        bound: Least value allowed: dB for sqnr, a share in [0, 1] for agreement, f1 and integer, a
            ratio for speedup.
    """

    metric: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``METRIC>=NUMBER``.

        Raises:
            ConfigError: It is not of that form, or the number makes no sense for the metric.
        """
        match = _REQUIREMENT.fullmatch(text)
        if match is None or match[1] not in METRICS:
            known = ", ".join(METRICS)
            raise ConfigError(
                f"--require '{text}' is not understood; give 'METRIC>=NUMBER' in quotes, METRIC "
                f"one of {known}"
            )
        try:
            bound = float(match[2])
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise ConfigError(f"--require '{text}': '{match[2]}' is no number; mend it")
        if match[1] in _SHARES and not 0 <= bound <= 1:
            raise ConfigError(f"--require '{text}': {match[1]} is a share; give 0 to 1")
        return cls(match[1], bound)

    def met(self, value: float | None) -> bool:
        """Returns whether ``value`` reaches the bound; what was not measured (None) does not."""
        return value is not None and value >= self.bound

    def __str__(self) -> str:
        return f"{self.metric}>={self.bound:g}"


def flag(name: str) -> str:
    """Returns the option that sets the field ``name``, as a user types it."""
    return "--" + name.replace("_", "-")


def _whole(name: str, value: object, allowed: str, accepts: Callable[[int], bool]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not accepts(value):
        raise ConfigError(f"{flag(name)} {value!r} is not allowed; give {allowed}")
    return value


def _at_least(least: int, meaning: str) -> Callable[[str, object], int]:
    return lambda name, value: _whole(name, value, meaning, lambda number: number >= least)


def _at_least_if_given(least: int, meaning: str) -> Callable[[str, object], int | None]:
    read = _at_least(least, meaning)
    return lambda name, value: None if value is None else read(name, value)


def _bits(*allowed: int) -> Callable[[str, object], int]:
    *first, last = map(str, allowed)
    meaning = f"{', '.join(first)} or {last}" if first else last
    return lambda name, value: _whole(name, value, meaning, lambda bits: bits in allowed)


def _opset(name: str, value: object) -> int:
    allowed = f"{_OPSETS[0]} to {_OPSETS[-1]}"
    return _whole(name, value, allowed, lambda opset: opset in _OPSETS)


@dataclass(frozen=True, slots=True)
class Choice:
    """Reads one word of a few.

    Attributes:
        allowed: The words.
    """

    allowed: tuple[str, ...]

    def __call__(self, name: str, value: object) -> str:
        """Returns the word; raises ConfigError on another one."""
        if value not in self.allowed:
            listed = " or ".join(self.allowed)
            raise ConfigError(f"{flag(name)} {value!r} is unknown; choose {listed}")
        return str(value)


def _choice(*allowed: str) -> Choice:
    return Choice(allowed)


def _none_or(read: Callable[[str, object], str]) -> Callable[[str, object], str | None]:
    return lambda name, value: None if value is None else read(name, value)


def _word(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{flag(name)} {value!r} is not allowed; give a name")
    return value


def _calibration(name: str, value: object) -> str:
    text = _word(name, value)
    CalibrationMethod.parse(text)
    return text


def _path(name: str, value: object) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ConfigError(f"{flag(name)} {value!r} is not allowed; give a file name")
    if os.fspath(value) == "-":
        raise ConfigError(
            f"{flag(name)} - is not allowed; give a file name (the commands' --json alone writes "
            "to standard output)"
        )
    return Path(value)


def folder_option(name: str, value: object) -> Path | None:
    """Reads the name of a folder; None stays None.

    Raises:
        ConfigError: It is no text or path.
    """
    if value is not None and (not isinstance(value, str | os.PathLike) or not os.fspath(value)):
        raise ConfigError(f"{flag(name)} {value!r} is not allowed; give a folder")
    return None if value is None else Path(value)


def _pipeline(name: str, value: object) -> Pipeline | None:
    if value is None or isinstance(value, Pipeline):
        return value
    if isinstance(value, Mapping):
        return Pipeline.of(value)
    path = _path(name, value)
    return None if path is None else Pipeline.of(path)


def _preprocess(name: str, value: object) -> str | None:
    return None if value is None else str(_path(name, value))


def _switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{flag(name)} {value!r} is not allowed; give True or False")
    return value


def _items(name: str, value: object) -> tuple[object, ...]:
    if isinstance(value, str | Requirement):
        return (value,)
    if value is None or not isinstance(value, Iterable):
        raise ConfigError(f"{flag(name)} {value!r} is not allowed; give a text or a list")
    return tuple(value)


def _words(name: str, value: object) -> tuple[str, ...]:
    return tuple(_word(name, item) for item in _items(name, value))


def _names(name: str, value: object) -> tuple[str, ...]:
    words = [word.strip() for item in _words(name, value) for word in item.split(",")]
    return tuple(dict.fromkeys(word for word in words if word))


def _requirements(name: str, value: object) -> tuple[Requirement, ...]:
    return tuple(
        item if isinstance(item, Requirement) else Requirement.parse(_word(name, item))
        for item in _items(name, value)
    )


def _budgets(name: str, value: object) -> tuple[Budget, ...]:
    given = (value,) if isinstance(value, Budget) else _items(name, value)
    read = [b if isinstance(b, Budget) else Budget.parse(_word(name, b)) for b in given]
    for budget in read:
        if [one.resource for one in read].count(budget.resource) > 1:
            raise ConfigError(f"--budget {budget.resource} is given twice; give one of them")
    return tuple(read)


READERS = MappingProxyType[str, Callable[[str, object], object]](
    {
        "output": _path,
        "preprocess": _preprocess,
        "embed_preprocess": _switch,
        "samples": _at_least_if_given(0, "1 or more, or 0 for all"),
        "weights": _bits(2, 3, 4, 8),
        "activations": _bits(4, 8),
        "budget": _budgets,
        "sensitivity": _choice(*SENSITIVITIES),
        "minimize": _none_or(_choice(*MINIMIZED)),
        "pareto": _path,
        "calibration": _none_or(_calibration),
        "rounding": _choice("gptq+cd", "gptq", "adaround", "blocks", "flexround", "nearest"),
        "weight_granularity": _choice("channel", "tensor"),
        "target": _word,
        "provider": _word,
        "format": _choice("qdq", "qoperator", "integer", "fp16", "qdq+fp16"),
        "rescale": _choice("int64", "int32"),
        "io": _choice("float", "integer", "half"),
        "keep_float": _words,
        "require": _requirements,
        "task": _choice("auto", "classification", "detection", "generic"),
        "boxes": _names,
        "scores": _names,
        "plan": _path,
        "save_plan": _path,
        "passes": _names,
        "skip": _names,
        "pipeline": _pipeline,
        "opset": _opset,
        "json": _path,
        "report": _path,
        "seed": _at_least(0, "0 or more"),
        "threads": _at_least(0, "1 or more, or 0 for one per core"),
        "check": _switch,
    }
)
"""Field of the configuration → its reader."""

PATHS = frozenset(name for name, reader in READERS.items() if reader is _path)
"""Fields that name files."""
