"""Everything that was not done, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.plan.note import NoteKind

if TYPE_CHECKING:
    from onnxq.report.result import Result

__all__ = ["Refusal", "refusals"]


class Refusal(NamedTuple):
    """A place where something was not done.

    Attributes:
        source: The pass that would not.
        where: The node or value.
        reason: Why.
    """

    source: str
    where: str
    reason: str


def refusals(result: Result) -> list[Refusal]:
    """Returns what passes refused, and nodes that stayed float for which no pass left a note."""
    found = [
        Refusal(note.source, note.where, note.text)
        for note in result.notes
        if note.kind is NoteKind.REFUSED
    ]
    told = {(refusal.where, refusal.reason) for refusal in found}
    found += [
        Refusal("stayed float", node.node, node.reason)
        for node in result.stayed_float
        if (node.node, node.reason) not in told
    ]
    return found
