"""A folder with one sub-folder per input of the model.

1. The sub-folder has the input's name; characters that file names do not allow may be `_`.
2. Files belong together by their place in the order of names, each input having as many.
3. Where some names without suffix are the same for every input, all must be: else files
   would be matched that do not belong together.
4. Inputs may mix images and arrays; then each array file holds one sample.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.data.arrays import ArraySource, ConcatSource
from onnxq.data.files import (
    IMAGE_SUFFIXES,
    ReadyInputsError,
    open_array_file,
    open_images,
    sample_suffixes,
)
from onnxq.data.folders import files_below
from onnxq.data.joined import JoinedSource
from onnxq.data.npz_stream import npy_rows, npz_rows
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnxq.data.base import DataSource, InputSpec
    from onnxq.data.npz_stream import Rows
    from onnxq.data.preprocess import Preprocess

_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')


@dataclass(frozen=True)
class _Column:
    """The files of one input."""

    spec: InputSpec
    folder: Path
    files: Sequence[Path]

    @property
    def images(self) -> bool:
        return self.files[0].suffix.lower() in IMAGE_SUFFIXES

    @property
    def stems(self) -> list[str]:
        return [file.relative_to(self.folder).with_suffix("").as_posix() for file in self.files]


def input_folders(folder: Path, inputs: Sequence[InputSpec]) -> dict[str, Path] | None:
    """Finds the sub-folder of each input (rule 1).

    Args:
        folder: Any folder.
        inputs: Inputs of the model.

    Returns:
        Input name → sub-folder; None if the model has one input, or no input has one.

    Raises:
        DataError: Some inputs have a sub-folder and others do not.
    """
    if len(inputs) < 2:
        return None
    found = {}
    for spec in inputs:
        for name in (spec.name, _FORBIDDEN.sub("_", spec.name)):
            parts = Path(name).parts
            inside = parts and not Path(name).anchor and ".." not in parts
            if inside and os.path.isdir(folder / name):
                found[spec.name] = folder / name
                break
    missing = [spec.name for spec in inputs if spec.name not in found]
    if found and missing:
        raise DataError(
            f"folder {folder} has a sub-folder for input '{next(iter(found))}', but none for input"
            f" '{missing[0]}'; give one per input: {', '.join(spec.name for spec in inputs)}"
        )
    return found or None


def open_per_input(
    folder: Path,
    folders: Mapping[str, Path],
    inputs: Sequence[InputSpec],
    preprocess: Preprocess | None,
) -> DataSource:
    """Opens a folder with one sub-folder per input (rules 2 to 4).

    Args:
        folder: The folder, for errors and the report.
        folders: Input name → sub-folder, see `input_folders`.
        inputs: Inputs of the model.
        preprocess: How images become inputs.

    Raises:
        DataError: The sub-folders do not match each other, or a file does not fit its input.
    """
    columns = [_column(spec, folders[spec.name], preprocess) for spec in inputs]
    _check_match(folder, columns)
    if any(column.images for column in columns):
        sources = [_mixed(column, preprocess) for column in columns]
        return JoinedSource(str(folder), sources, inputs)
    if preprocess is not None:
        raise ReadyInputsError(f"folder {folder}")
    samples = list(zip(*(column.files for column in columns), strict=True))
    parts = [_arrays(files, inputs) for files in samples]
    return ConcatSource(str(folder), parts, [files[0].parent for files in samples])


def _column(spec: InputSpec, folder: Path, preprocess: Preprocess | None) -> _Column:
    files = files_below(folder)
    suffixes = sample_suffixes(files, preprocessed=preprocess is not None)
    files = [file for file in files if file.suffix.lower() in suffixes]
    if not files:
        raise DataError(
            f"folder {folder} for input '{spec.name}' holds neither images nor arrays;"
            " give one file per sample"
        )
    return _Column(spec, folder, files)


def _check_match(folder: Path, columns: Sequence[_Column]) -> None:
    first, *others = columns
    counts = {column.spec.name: len(column.files) for column in columns}
    names = set(first.stems)
    for other in others:
        alone = sorted(names ^ set(other.stems))
        common = names & set(other.stems)
        if len(set(counts.values())) > 1 or (alone and common):
            listed = ", ".join(f"{count} for '{name}'" for name, count in counts.items())
            only = f"; '{alone[0]}' is not in both" if alone and common else ""
            raise DataError(
                f"folder {folder}: the files of the inputs do not match, there are {listed}{only};"
                " give one file of the same name per sample in every sub-folder"
            )


def _mixed(column: _Column, preprocess: Preprocess | None) -> DataSource:
    if column.images:
        where = str(column.folder)
        return open_images(where, column.files, column.spec, preprocess, every_file_counts=True)
    parts = [open_array_file(file, [column.spec]) for file in column.files]
    for file, part in zip(column.files, parts, strict=True):
        if len(part) != 1:
            raise DataError(
                f"{file} holds {len(part)} samples, but goes with one image;"
                " save each sample in a file of its own"
            )
    return ConcatSource(str(column.folder), parts, [file.parent for file in column.files])


def _arrays(files: Sequence[Path], inputs: Sequence[InputSpec]) -> ArraySource:
    arrays = {spec.name: _rows(file, spec) for file, spec in zip(files, inputs, strict=True)}
    return ArraySource(" + ".join(map(str, files)), arrays, inputs)


def _rows(file: Path, spec: InputSpec) -> Rows:
    if file.suffix.lower() == ".npy":
        return npy_rows(file)
    arrays = npz_rows(file)
    if len(arrays) != 1:
        raise DataError(
            f"{file} holds {len(arrays)} arrays, but feeds the one input '{spec.name}';"
            " save one array a file"
        )
    return next(iter(arrays.values()))
