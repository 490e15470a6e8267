"""What a model may cost, as ``--budget`` says it."""

from __future__ import annotations

import math
import re
from typing import NamedTuple, Self

from onnxq.errors import ConfigError

__all__ = ["RESOURCES", "Budget"]

RESOURCES = ("size", "avg-weight-bits", "bops", "latency")
"""What there is to save."""

_FORM = re.compile(r"\s*([\w-]+)\s*=\s*([0-9.eE+-]+)\s*([A-Za-z×]*)\s*")
_SHARE = ("x", "X", "×")
# Resource → unit → what it multiplies by.
_UNITS = {
    "size": {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
    "avg-weight-bits": {"": 1.0},
    "bops": {"": 1.0, "M": 1e6, "G": 1e9, "T": 1e12},
    "latency": {},
}
_EXAMPLES = "size=0.16x or size=2.5MB, avg-weight-bits=5, bops=0.05x or bops=12G, latency=0.8x"


class Budget(NamedTuple):
    """An upper bound.

    Attributes:
        resource: One of :data:`RESOURCES`.
        bound: Bytes, bits, operations on single bits; or a share of what the float model takes.
        relative: Whether it is such a share.
    """

    resource: str
    bound: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``RESOURCE=AMOUNT``, the amount with x behind it for a share of float.

        Raises:
            ConfigError: It is not of that form, or makes no sense for the resource.
        """
        match = _FORM.fullmatch(text)
        if match is None or match[1] not in RESOURCES:
            raise ConfigError(f"--budget '{text}' is not understood; give {_EXAMPLES}")
        resource, digits, unit = match.groups()
        try:
            amount = float(digits)
        except ValueError:
            amount = math.nan
        if not math.isfinite(amount) or amount <= 0:
            raise ConfigError(f"--budget '{text}': '{digits}' is no positive number; mend it")
        if unit in _SHARE and resource != "avg-weight-bits":
            return cls(resource, amount, relative=True)
        if unit not in _UNITS[resource]:
            raise ConfigError(f"--budget '{text}': the unit does not fit; give {_EXAMPLES}")
        return cls(resource, amount * _UNITS[resource][unit], relative=False)

    def absolute(self, whole: float) -> float:
        """Returns the bound in units of the resource.

        Args:
            whole: What the float model takes.
        """
        return self.bound * whole if self.relative else self.bound

    def amount(self, used: float, whole: float) -> str:
        """Returns an amount of the resource as this budget gives its own, such as ``0.158x``."""
        return _text(self.resource, used / whole if self.relative else used, self.relative)

    def __str__(self) -> str:
        return f"{self.resource}={_text(self.resource, self.bound, self.relative)}"


def _text(resource: str, amount: float, relative: bool) -> str:
    if relative:
        return f"{amount:.4g}x"
    for unit, factor in sorted(_UNITS[resource].items(), key=lambda item: -item[1]):
        if amount >= factor:
            return f"{amount / factor:.4g}{unit}"
    return f"{amount:.4g}"
