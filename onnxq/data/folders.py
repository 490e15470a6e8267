"""Which files of a folder are samples: its sub-folders too, of a data set's usual root one split.

1. Hidden files and folders are left out, and a folder that is reached again through a link.
2. A folder is searched in the order of names: its own files first, then its sub-folders.
3. A lone sub-folder that holds samples is looked into.
4. `images/` beside `labels/` or `annotations/` (YOLO, COCO; in VOC `JPEGImages/`): the images.
5. Sub-folders named for two or more splits (`train2017/`, `val2017/`): the first of calibration,
   train, dev, val, eval, test that holds samples.
6. Files beside sub-folders, and sub-folders of other names, such as classes: all of them.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.data.reason import reason_of
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

_IMAGES = frozenset({"image", "images", "img", "imgs", "jpegimages"})
_LABELS = frozenset({"annotation", "annotations", "label", "labels", "mask", "masks"})
_SPLITS = ("calib", "train", "dev", "val", "eval", "test")
_SPLIT_NAME = re.compile(
    r"(calib|train|dev|val|eval|test)"
    r"(?:(?<=calib)ration|(?<=train)(?:ing|val)|(?<=val)id(?:ation)?|(?<=test)ing)?"
    r"(?:set)?(?![a-z]).*"
)
_NAMED = 3


def files_below(folder: Path) -> list[Path]:
    """Lists the files of a folder and of all its sub-folders (rules 1 and 2).

    Args:
        folder: The folder.

    Returns:
        The files, each as a path that begins with `folder`.

    Raises:
        DataError: A folder cannot be read.
    """
    found: list[Path] = []
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        files, folders = _entries(here)
        found += files
        waiting += reversed(folders)
    return found


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files and the sub-folders of one folder, by name."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or _leads_nowhere(entry):
                    continue
                if entry.is_dir():
                    folders.append(folder / entry.name)
                elif entry.is_file():
                    files.append(folder / entry.name)
    except OSError as error:
        raise DataError(f"cannot read data {folder}: {reason_of(error)}; check the path") from error
    return files, folders


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to itself, on which asking for its kind would fail."""
    return entry.is_symlink() and not os.path.exists(entry.path)


@dataclass(frozen=True)
class Taken:
    """The samples of a folder.

    Attributes:
        files: The files that are samples.
        note: Which sub-folders they were taken from and which were left out; empty if all were
            taken.
    """

    files: Sequence[Path]
    note: str


def take(folder: Path, files: Sequence[Path], suffixes: Collection[str]) -> Taken:
    """Chooses the samples among the files of a folder (rules 3 to 6).

    Args:
        folder: The folder.
        files: All of its files, see `files_below`.
        suffixes: Suffixes of samples, in lower case.

    Returns:
        The samples, in the order of `files`, and what was left out.
    """
    samples = [file for file in files if file.suffix.lower() in suffixes]
    kept, left = [], []
    pending = [folder]
    while pending:
        here = pending.pop()
        tops = _by_name(here, files)
        holding = _by_name(here, samples)
        chosen = None if "" in holding else _chosen(tops, holding)
        if chosen is None:
            kept.append(here)
            continue
        pending += [here / name for name in reversed(chosen)]
        left += [here / name for name in holding if name not in chosen]
    if not left:
        return Taken(samples, "")
    note = f"{_listed(folder, kept)} taken, {_listed(folder, left)} left out"
    logger.info("%s: %s", folder, note)
    return Taken([file for file in samples if any(_below(file, place) for place in kept)], note)


def _by_name(folder: Path, files: Sequence[Path]) -> Mapping[str, int]:
    """How many files lie below each sub-folder; directly in the folder: below ""."""
    depth = len(folder.parts)
    counts: dict[str, int] = defaultdict(int)
    for file in files:
        if _below(file, folder):
            counts[file.parts[depth] if len(file.parts) > depth + 1 else ""] += 1
    return counts


def _below(file: Path, folder: Path) -> bool:
    return file.parts[: len(folder.parts)] == folder.parts


def _chosen(tops: Collection[str], holding: Collection[str]) -> list[str] | None:
    """The sub-folders to look into; None to take all that is there."""
    names = list(holding)
    if len(names) == 1:
        return names
    if any(name.lower() in _LABELS for name in tops):
        images = [name for name in names if name.lower() in _IMAGES]
        if images:
            return images
    ranks = {name: rank for name in names if (rank := _split_rank(name)) is not None}
    if len(set(ranks.values())) > 1:
        best = min(ranks.values())
        return [name for name in names if ranks.get(name) == best]
    return None


def _split_rank(name: str) -> int | None:
    found = _SPLIT_NAME.fullmatch(name.lower())
    return None if found is None else _SPLITS.index(found[1])


def _listed(folder: Path, places: Sequence[Path]) -> str:
    names = [f"'{place.relative_to(folder).as_posix()}'" for place in places]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
