"""What a pass lets a pipeline file set, and how each value is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PassOption", "choice", "number", "switch", "whole"]


@dataclass(frozen=True, slots=True)
class PassOption:
    """One option of a pass.

    Attributes:
        wanted: What is allowed, in words.
        read: Returns a value of a TOML file in the option's own type; None if it is not allowed.
    """

    wanted: str
    read: Callable[[object], object | None]


def number(wanted: str, accepts: Callable[[float], bool]) -> PassOption:
    """Returns an option that is a finite float; a whole number is read as one."""

    def read(value: object) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) and accepts(value) else None

    return PassOption(wanted, read)


def whole(wanted: str, accepts: Callable[[int], bool]) -> PassOption:
    """Returns an option that is an int."""

    def read(value: object) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return value if accepts(value) else None

    return PassOption(wanted, read)


def choice(*words: str) -> PassOption:
    """Returns an option that is one of ``words``."""
    return PassOption(
        " or ".join(f'"{word}"' for word in words), lambda value: value if value in words else None
    )


def switch() -> PassOption:
    """Returns an option that is on or off."""
    return PassOption("true or false", lambda value: value if isinstance(value, bool) else None)
