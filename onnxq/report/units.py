"""Numbers with units, for people."""

from __future__ import annotations

from onnxq.report.summary import count_text

__all__ = ["bytes_text"]


def bytes_text(number: int) -> str:
    """Returns a number of bytes with three digits and a decimal prefix: ``12.3 MB``."""
    text = count_text(number)
    return f"{text}B" if " " in text else f"{text} B"
