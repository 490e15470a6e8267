"""A text file of paths, as darknet and Caffe use them.

1. One path a line, taken from the text file's folder unless it is absolute.
2. Blank lines and lines that begin with `#` are skipped.
3. A whole number behind a path is a label (Caffe) and ignored, unless a file has that very name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onnxq.data.files import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from onnxq.data.reason import reason_of
from onnxq.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

LIST_SUFFIX = ".txt"
_LABELLED = re.compile(r"(?P<path>.+?)\s+-?\d+")


def listed_files(listing: Path) -> list[Path]:
    """Reads a text file of paths.

    Args:
        listing: The text file, UTF-8.

    Returns:
        The files, in the order of the lines; all of them images or all arrays.

    Raises:
        DataError: The text cannot be read or names no file, or a line names one that is missing,
            of an unknown kind, or of another kind than the first.
    """
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{listing} is no UTF-8 text; give a text file of paths") from error
    except OSError as error:
        raise DataError(
            f"cannot read data {listing}: {reason_of(error)}; check the path"
        ) from error
    files: list[Path] = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            where = f"{listing}, line {number}"
            files.append(_file(where, listing.parent, entry))
            _check_kind(where, files[-1], files[0])
    if not files:
        raise DataError(f"{listing} names no files; give one path a line")
    return files


def _file(where: str, folder: Path, entry: str) -> Path:
    labelled = _LABELLED.fullmatch(entry)
    for name in [entry, *([labelled["path"]] if labelled else [])]:
        try:
            if (folder / name).is_file():
                return folder / name
        except (OSError, ValueError):
            continue
    raise DataError(
        f"{where}: there is no file {folder / entry}; paths count from the folder of the text file"
    )


def _check_kind(where: str, file: Path, first: Path) -> None:
    suffix = file.suffix.lower()
    if suffix not in IMAGE_SUFFIXES | ARRAY_SUFFIXES:
        raise DataError(f"{where}: {file} is neither an image nor an array; take it out")
    if (suffix in IMAGE_SUFFIXES) != (first.suffix.lower() in IMAGE_SUFFIXES):
        raise DataError(f"{where}: {file} mixes images with arrays; list one kind")
