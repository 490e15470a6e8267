"""What :func:`onnxq.lint` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.conformance.check import worst
from onnxq.conformance.finding import Severity

if TYPE_CHECKING:
    from onnxq.conformance.finding import Finding

__all__ = ["Linted"]


@dataclass(frozen=True, slots=True)
class Linted:
    """A model held to the rules of a target.

    Attributes:
        name: What the report calls the model.
        target: Name of the target.
        summary: What that is, in one line.
        stands: "run" where the target's rules were seen in what it ran, else "documents".
        findings: Broken rules, in the order of the model's nodes.
    """

    name: str
    target: str
    summary: str
    stands: str
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity | None:
        """The severity that matters most; None if nothing was found."""
        return worst(self.findings)

    def count(self, severity: Severity) -> int:
        """Returns the number of findings of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def counts(self) -> str:
        """The numbers of errors, warnings and notes, in words."""
        words = []
        for severity in sorted(Severity, key=lambda s: -s.value):
            count = self.count(severity)
            words.append(f"{count} {severity.word}{'' if count == 1 else 's'}")
        return ", ".join(words)
