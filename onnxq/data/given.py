"""The files that data is read from, which no output may replace."""

from __future__ import annotations

import os
from pathlib import Path

from onnxq.data.folders import files_below
from onnxq.data.imported import ImportedCallable
from onnxq.data.lists import LIST_SUFFIX, listed_files
from onnxq.errors import DataError


def given_files(where: str | os.PathLike[str]) -> list[Path]:
    """Lists what data names: itself, the files in a folder and below, those that a text lists.

    Args:
        where: As for `open_source`; it need not be readable.

    Returns:
        The paths; of data that cannot be read, the path alone.
    """
    text = os.fspath(where)
    named = ImportedCallable.parse(text)
    if named is not None:
        return [Path(named.home)]
    path = Path(text)
    try:
        if os.path.isdir(path):
            return [path, *files_below(path)]
        if path.suffix.lower() == LIST_SUFFIX:
            return [path, *listed_files(path)]
    except DataError:
        # What is wrong with the data is told where it is opened.
        return [path]
    return [path]
