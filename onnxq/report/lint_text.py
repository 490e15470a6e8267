"""Findings of lint on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from onnxq.conformance.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from onnxq.conformance.finding import Finding
    from onnxq.report.lint_result import Linted

__all__ = ["lint_text"]

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_PLACES_SHOWN = 4


def lint_text(linted: Linted) -> RenderableType:
    """Returns what is wrong, the worst first, equal findings together, and the numbers of all."""
    lines = [line for group in _groups(linted) for line in _group(group)]
    told = f"{linted.name} on {linted.target} ({linted.summary}): {linted.counts}"
    lines.append(Text(told, "bold" if linted.findings else "green"))
    if linted.stands == "documents":
        lines.append(Text(f"the rules of {linted.target} stand on documents", "dim"))
    return Group(*lines)


def _groups(linted: Linted) -> list[list[Finding]]:
    """Puts findings together that differ in their place alone, the worst first."""
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for found in linted.findings:
        key = found.severity, found.rule, found.op, found.text, found.mend
        alike.setdefault(key, []).append(found)
    return sorted(alike.values(), key=lambda group: -group[0].severity.value)


def _group(group: list[Finding]) -> Iterator[Text]:
    first = group[0]
    names = [found.node for found in group]
    places = ", ".join(names[:_PLACES_SHOWN])
    if len(names) > _PLACES_SHOWN:
        places += f" and {len(names) - _PLACES_SHOWN} more"
    op = f" ({first.op})" if first.op else ""
    head = (f"{first.severity.word}: ", _STYLES[first.severity])
    yield Text.assemble(head, (places, "bold"), f"{op}: {first.text} ", (f"[{first.rule}]", "dim"))
    yield Text(f"  {first.mend}")
