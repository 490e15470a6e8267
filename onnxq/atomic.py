"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pending_file", "pending_folder", "replace_all", "temporary_beside"]


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
        with temporary_beside(target) as pending:
            yield pending
            if pending.stat().st_size:
                pending.replace(target)
    except OSError as error:
        raise _unwritten(error, path, what, "file") from None


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Makes an empty file in the folder of ``target``; removes it unless it was renamed."""
    path = _new_beside(target)
    try:
        # Unlike the tempfile module, this gives the file the mode that the user's umask asks for.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield path
    finally:
        path.unlink(missing_ok=True)


def replace_all(pairs: list[tuple[Path, Path]]) -> None:
    """Renames each temporary file to its target, the last one last; all or none."""
    *companions, (pending, target) = pairs
    with contextlib.ExitStack() as backups, contextlib.ExitStack() as undo:
        for temporary, goal in companions:
            backup = backups.enter_context(temporary_beside(goal)) if goal.exists() else None
            undo.callback(_undo_rename, pending, goal, backup)
            if backup is not None:
                goal.replace(backup)
            temporary.replace(goal)
        pending.replace(target)


def _undo_rename(pending: Path, goal: Path, backup: Path | None) -> None:
    """Puts back what was at ``goal``, unless the last file has been renamed already."""
    if not pending.exists():
        return
    if backup is None:
        goal.unlink(missing_ok=True)
    elif backup.stat().st_size:
        backup.replace(goal)


@contextlib.contextmanager
def pending_folder(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Yields an empty folder beside the target, which it becomes if the block does not raise.

    Args:
        path: The target, which is not there yet or an empty folder; its own folder must exist.
        what: What it holds, for messages: "test vectors".

    Raises:
        OutputError: The target is there and holds something, or cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{path}: is there already; name a new folder for the {what}")
    pending = _new_beside(target)
    try:
        pending.mkdir()
        yield pending
        if target.exists():
            target.rmdir()
        pending.replace(target)
    except OSError as error:
        raise _unwritten(error, path, what, "folder") from None
    finally:
        shutil.rmtree(pending, ignore_errors=True)


def _new_beside(target: Path) -> Path:
    return target.with_name(f".onnxq-{uuid.uuid4().hex[:12]}.tmp")


def _unwritten(error: OSError, path: str | os.PathLike[str], what: str, kind: str) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"{path}: the {what} cannot be written ({reason}); name another {kind}")
