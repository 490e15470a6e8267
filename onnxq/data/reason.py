"""The reason of an exception as one line, for messages to the user."""

from __future__ import annotations


def reason_of(error: BaseException) -> str:
    """Returns what an exception says, on one line: the system's text for an OSError."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
