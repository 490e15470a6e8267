"""Notes: what a pass did or refused at one place, for the trace and the report."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Note", "NoteKind"]


class NoteKind(enum.Enum):
    """What a note says happened at its place."""

    FIRED = "fired"
    REFUSED = "refused"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that a pass did, or would not do, at one place.

    Attributes:
        kind: What happened.
        source: Name of the pass.
        where: Name of the node or value.
        text: What was done, or the reason for the refusal, in words.
    """

    kind: NoteKind
    source: str
    where: str
    text: str
