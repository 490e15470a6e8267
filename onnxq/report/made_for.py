"""What a model was made for, and where that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from onnxq.plan.target import Target

__all__ = ["MadeFor"]

_COUNTS = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class MadeFor:
    """What the model was made for, and where it was measured.

    Attributes:
        target: Name of the target.
        summary: What that is, in one line.
        stands: "run" where its rules were seen in what the provider ran, else "documents".
        provider: Execution provider that measured.
        machine: The CPU target that the machine is; empty where that is not known.
        away: Whether the target runs on another provider, so that nothing of its speed is known.
    """

    target: str
    summary: str
    stands: str
    provider: str
    machine: str
    away: bool

    @property
    def counted(self) -> bool:
        """Whether the integer kernels were counted, which only the CPU's own profile tells."""
        return not self.away and self.provider == _COUNTS

    @classmethod
    def of(cls, target: Target, provider: str, machine: str) -> Self:
        """Puts together what is known of a run."""
        stands = "run" if target.measured else "documents"
        away = target.provider != provider
        return cls(target.name, target.summary, stands, provider, machine, away)
