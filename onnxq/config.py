"""What the user asked for, as one frozen object that is valid from its construction on.

The field names are the options' names: ``weight_granularity`` is ``--weight-granularity``. Names
that a file decides (targets, preprocessing presets, passes) are checked by whoever reads that file.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, Self

from onnxq.errors import ConfigError

__all__ = ["METRICS", "CalibrationMethod", "Config", "Requirement"]

METRICS = ("sqnr", "agreement", "speedup", "integer")
"""What ``--require`` can bound: dB of the worst output, share, ratio, share."""

_SHARES = ("agreement", "integer")
_OPSETS = range(21, 26)
_PERCENT = 99.99
_REQUIREMENT = re.compile(r"\s*(\w+)\s*>=\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound that the result must reach, such as ``sqnr>=20``.

    Attributes:
        metric: One of :data:`METRICS`.
        bound: Least value allowed: dB for sqnr, a share in [0, 1] for agreement and integer, a
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
                f"--require '{text}' is not understood; give METRIC>=NUMBER, METRIC one of {known}"
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


class CalibrationMethod(NamedTuple):
    """How activation ranges are fitted.

    Attributes:
        name: "minmax", "percentile" or "mse".
        percent: For percentile: how much of the values the range holds, in (50, 100].
    """

    name: str
    percent: float = _PERCENT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``minmax``, ``mse``, ``percentile`` or ``percentile:99.9``.

        Raises:
            ConfigError: It is none of these.
        """
        name, colon, number = text.partition(":")
        if name in ("minmax", "mse") and not colon:
            return cls(name)
        try:
            percent = float(number) if colon else _PERCENT
        except ValueError:
            percent = math.nan
        if name != "percentile" or not 50 < percent <= 100:
            raise ConfigError(
                f"--calibration '{text}' is unknown; choose mse, minmax or percentile[:PERCENT] "
                "with PERCENT above 50 and up to 100"
            )
        return cls(name, percent)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _whole(name: str, value: object, allowed: str, accepts: Callable[[int], bool]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not accepts(value):
        raise ConfigError(f"{_flag(name)} {value!r} is not allowed; give {allowed}")
    return value


def _at_least(least: int, meaning: str) -> Callable[[str, object], int]:
    return lambda name, value: _whole(name, value, meaning, lambda number: number >= least)


def _eight(name: str, value: object) -> int:
    return _whole(name, value, "8", lambda bits: bits == 8)


def _opset(name: str, value: object) -> int:
    allowed = f"{_OPSETS[0]} to {_OPSETS[-1]}"
    return _whole(name, value, allowed, lambda opset: opset in _OPSETS)


def _choice(*allowed: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        if value not in allowed:
            raise ConfigError(f"{_flag(name)} {value!r} is unknown; choose {' or '.join(allowed)}")
        return str(value)

    return read


def _word(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{_flag(name)} {value!r} is not allowed; give a name")
    return value


def _calibration(name: str, value: object) -> str:
    text = _word(name, value)
    CalibrationMethod.parse(text)
    return text


def _path(name: str, value: object) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ConfigError(f"{_flag(name)} {value!r} is not allowed; give a file name")
    return Path(value)


def _preprocess(name: str, value: object) -> str | None:
    return None if value is None else str(_path(name, value))


def _switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{_flag(name)} {value!r} is not allowed; give True or False")
    return value


def _items(name: str, value: object) -> tuple[object, ...]:
    if isinstance(value, str | Requirement):
        return (value,)
    if value is None or not isinstance(value, Iterable):
        raise ConfigError(f"{_flag(name)} {value!r} is not allowed; give a text or a list")
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


@dataclass(frozen=True, kw_only=True)
class Config:
    """The options of one run.

    Every field is read and checked once, at construction: a path may be given as text, a list as
    one text, a requirement as ``"sqnr>=20"``, names of passes with commas between them.

    Attributes:
        output: Where the model goes; None = decided from the input's name.
        preprocess: How images become inputs: a preset or a TOML file.
        samples: How many samples to take from the data; 0 = all.
        weights: Bits of a weight.
        activations: Bits of an activation.
        calibration: How activation ranges are fitted; see :attr:`calibration_method`.
        weight_granularity: "channel" for one scale per output channel, "tensor" for one in all.
        target: What the model will run on.
        format: Form of the quantized model.
        keep_float: Patterns (as in fnmatch) of node names that stay float.
        require: Bounds that the result must reach.
        plan: A plan to replay instead of deciding.
        save_plan: Where to write the plan.
        passes: Names of the passes to run; empty = the default ones.
        skip: Names of passes not to run.
        opset: ONNX operator set of the output.
        json: Where to write the report as JSON.
        report: Where to write the report as HTML.
        seed: Of all that is drawn.
        threads: Threads to use; 0 = one per core.
        check: Whether to hold every pass to its contract.

    Raises:
        ConfigError: A value is not allowed.
    """

    output: Path | None = None
    preprocess: str | None = None
    samples: int = 64
    weights: int = 8
    activations: int = 8
    calibration: str = "mse"
    weight_granularity: str = "channel"
    target: str = "cpu"
    format: str = "qdq"
    keep_float: tuple[str, ...] = ()
    require: tuple[Requirement, ...] = ()
    plan: Path | None = None
    save_plan: Path | None = None
    passes: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    opset: int = 21
    json: Path | None = None
    report: Path | None = None
    seed: int = 0
    threads: int = 0
    check: bool = False

    def __post_init__(self) -> None:
        for name, read in _READERS.items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        self._refuse_shared_paths()

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Self:
        """Makes a configuration from loose options.

        Raises:
            ConfigError: An option is unknown or its value is not allowed.
        """
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
                raise ConfigError(f"no option '{name}'; {hint}")
        return cls(**options)  # type: ignore[arg-type]

    @property
    def calibration_method(self) -> CalibrationMethod:
        """:attr:`calibration`, taken apart."""
        return CalibrationMethod.parse(self.calibration)

    def to_dict(self) -> dict[str, object]:
        """Returns all options in plain types that JSON can hold."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def _refuse_shared_paths(self) -> None:
        written: dict[str, str] = {}
        for name in ("output", "save_plan", "json", "report"):
            path = getattr(self, name)
            if path is None:
                continue
            other = written.setdefault(os.path.realpath(path), name)
            if other != name:
                raise ConfigError(
                    f"{_flag(other)} and {_flag(name)} both write {path}; give two names"
                )


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path | Requirement) else value


_READERS: dict[str, Callable[[str, object], object]] = {
    "output": _path,
    "preprocess": _preprocess,
    "samples": _at_least(0, "1 or more, or 0 for all"),
    "weights": _eight,
    "activations": _eight,
    "calibration": _calibration,
    "weight_granularity": _choice("channel", "tensor"),
    "target": _word,
    "format": _choice("qdq"),
    "keep_float": _words,
    "require": _requirements,
    "plan": _path,
    "save_plan": _path,
    "passes": _names,
    "skip": _names,
    "opset": _opset,
    "json": _path,
    "report": _path,
    "seed": _at_least(0, "0 or more"),
    "threads": _at_least(0, "1 or more, or 0 for one per core"),
    "check": _switch,
}
