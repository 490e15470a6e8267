"""Holds a result to what the user asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.errors import RequirementError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnxq.config import Requirement
    from onnxq.report.result import Result

__all__ = ["require", "shown"]

_MISSED = "lower the bound, or give other or more calibration data"
_NOT_MEASURED = "give --data, and --task where it is not recognized, or require something else"


def require(result: Result, requirements: Iterable[Requirement]) -> None:
    """Holds ``result`` to what the user asked for.

    Raises:
        RequirementError: A requirement is missed; the message names all that are.
    """
    measured = [(wanted, result.metric(wanted.metric)) for wanted in requirements]
    missed = [(wanted, value) for wanted, value in measured if not wanted.met(value)]
    if missed:
        listed = ", ".join(f"{wanted} (it is {shown(value)})" for wanted, value in missed)
        unknown = all(value is None for _, value in missed)
        raise RequirementError(
            f"{result.source}: the result misses {listed}; nothing was written; "
            f"{_NOT_MEASURED if unknown else _MISSED}"
        )


def shown(value: float | None) -> str:
    """Returns what was measured in words."""
    return "not measured" if value is None else f"{value:.4g}"
