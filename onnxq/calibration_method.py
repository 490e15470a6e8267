"""How activation ranges are fitted, in the one form that options and pipeline files share."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from onnxq.errors import ConfigError

__all__ = ["AUTO", "CALIBRATION_METHODS", "CalibrationMethod"]

CALIBRATION_METHODS = "mse, minmax, kl, percentile[:PERCENT] or lp:P"
"""What there is to fit a range by, for people; others search beyond."""

AUTO = "auto"
"""The method that tries one after the other."""

_SEARCHES = ("adaptive-lp", "pd", AUTO)

_PERCENT = 99.99
_SQUARES = 2.0


class CalibrationMethod(NamedTuple):
    """How activation ranges are fitted.

    Attributes:
        name: "minmax", "percentile", "kl", "mse", "lp", "adaptive-lp", "pd" or
            "auto".
        percent: For percentile: how much of the values the range holds, in (50, 100].
        p: For lp: the exponent of the error, 1 to 4; mse has 2. Of what a search starts from.
            None where no error is minimized.
    """

    name: str
    percent: float = _PERCENT
    p: float | None = None

    @property
    def searches(self) -> bool:
        """Whether it is more than a fit: passes of its own, which start from what a fit finds."""
        return self.name in _SEARCHES

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``minmax``, ``kl``, ``percentile``, ``percentile:99.9``, ``lp:2.4`` and the others.

        Raises:
            ConfigError: It is none of these.
        """
        name, colon, number = text.partition(":")
        if name in ("minmax", "kl", "mse", *_SEARCHES) and not colon:
            return cls(name, p=None if name in ("minmax", "kl") else _SQUARES)
        try:
            value = float(number) if colon else _PERCENT
        except ValueError:
            value = math.nan
        if name == "percentile" and 50 < value <= 100:
            return cls(name, percent=value)
        if name == "lp" and colon and 1 <= value <= 4:
            return cls(name, p=value)
        raise ConfigError(
            f"--calibration '{text}' is unknown; choose {CALIBRATION_METHODS}, PERCENT above 50 "
            f"and up to 100, P from 1 to 4; or {', '.join(_SEARCHES[:-1])} or {_SEARCHES[-1]}"
        )
