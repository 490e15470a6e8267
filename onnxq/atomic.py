"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pending_file"]


@contextlib.contextmanager
def pending_file(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Yields a name on the target's file system; what is written there replaces the target.

    Nothing is left behind if the block raises, or writes nothing.

    Args:
        path: The target; its folder must exist.
        what: What it is, for messages: "report", "plan".

    Raises:
        OutputError: The target is no regular file, or cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: is not a regular file; name another one for the {what}")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".onnxq-") as folder:
            pending = Path(folder) / target.name
            yield pending
            if pending.exists():
                pending.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: the {what} cannot be written ({reason}); name another file"
        ) from None
