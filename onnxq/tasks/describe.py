"""What was recognized of a detector, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.tasks.end_to_end import FinishedBoxes, FinishedRows
from onnxq.tasks.head import Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxq.tasks.head import Reader
    from onnxq.tasks.layout import Seen

__all__ = ["described"]

_FORMS = {"corners": "boxes as corners", "centre": "boxes cx cy w h"}


def described(reader: Reader, outputs: Sequence[Seen]) -> str:
    """Returns the line.

    Args:
        reader: What was recognized.
        outputs: The outputs that it was recognized in.
    """
    shapes = {one.name: list(one.shape) for one in outputs}
    if isinstance(reader, FinishedRows):
        return f"detection: finished boxes in {reader.name} {shapes[reader.name]}"
    if isinstance(reader, FinishedBoxes):
        boxes = f"{reader.boxes} {shapes[reader.boxes]}"
        return f"detection: finished boxes in {boxes}, scores in {reader.scores}"
    assert isinstance(reader, Head)
    return f"detection: {_where(reader, shapes)}, {_what(reader, outputs)}"


def _where(head: Head, shapes: dict[str, list[int]]) -> str:
    names = list(dict.fromkeys(name for part in head.parts for name in _names(part)))
    if len(names) == 1:
        return f"one output {shapes[names[0]]}"
    if len(head.parts) == 1:
        return "outputs " + " and ".join(f"{name} {shapes[name]}" for name in names)
    return f"{len(names)} outputs on {len(head.parts)} levels"


def _names(part: object) -> list[str]:
    fields = (getattr(part, name) for name in ("boxes", "scores", "objectness"))
    return [field.layout.name for field in fields if field is not None]


def _what(head: Head, outputs: Sequence[Seen]) -> str:
    probe = {one.name: one.arrays[0] for one in outputs}
    classes = head.table(probe).shape[2]
    gated = any(part.objectness is not None for part in head.parts)
    scores = "1 score" if classes == 1 else f"{classes} scores"
    scores += " times objectness" if gated else ""
    scores += " without background" if head.scores.background is not None else ""
    scores += f" by {head.scores.activation}" if head.scores.activation != "none" else ""
    if head.boxes == "raw":
        return f"{scores} beside raw boxes, compared place by place as they cannot be decoded"
    return f"{_FORMS[head.boxes]} beside {scores}"
