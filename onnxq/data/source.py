"""Opens calibration data of any kind as a `DataSource`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxq.data.arrays import ArraySource
from onnxq.data.batching import batched
from onnxq.data.files import (
    ARRAY_SUFFIXES,
    IMAGE_SUFFIXES,
    KINDS,
    ReadyInputsError,
    only_input,
    open_array_file,
    open_files,
    sample_suffixes,
)
from onnxq.data.fit import as_array
from onnxq.data.folders import files_below, take
from onnxq.data.imported import ImportedCallable
from onnxq.data.lists import LIST_SUFFIX, listed_files
from onnxq.data.npz_stream import MemoryRows
from onnxq.data.per_input import input_folders, open_per_input
from onnxq.data.reason import reason_of
from onnxq.data.sequences import FeedSource, Sample
from onnxq.data.user_code import user_code
from onnxq.errors import DataError

if TYPE_CHECKING:
    from onnxq.data.base import DataSource, InputSpec
    from onnxq.data.preprocess import Preprocess

ArrayData: TypeAlias = npt.NDArray[np.generic] | Mapping[str, npt.ArrayLike]
DataLike: TypeAlias = (
    str
    | os.PathLike[str]
    | ArrayData
    | Iterable[Sample]
    | Callable[[], Iterable[Sample] | ArrayData]
)


def open_source(
    where: DataLike, inputs: Sequence[InputSpec], preprocess: Preprocess | None = None
) -> DataSource:
    """Opens data and checks all that can be checked without reading the samples.

    Args:
        where: A .npz or .npy file; an image; a folder of such files, searched with its sub-folders
            (see `onnxq.data.folders`), or with one sub-folder per input (`onnxq.data.per_input`);
            a .txt file of paths (`onnxq.data.lists`); `module:callable` or `file.py:callable`, as
            text; arrays in memory (input name → array, or one array for one input), the first
            axis counting samples; a sequence of feeds; or a callable that returns an iterable of
            feeds, the same on every call.
        inputs: Inputs of the model that take data.
        preprocess: How images become inputs; for images only, and needed for them.

    Returns:
        The source; its samples are full batches where the model fixes a batch above 1.

    Raises:
        DataError: The data cannot be read or does not fit the inputs.
    """
    if not inputs:
        raise DataError("the model has no inputs, so it takes no data; leave the data out")
    if isinstance(where, str | os.PathLike):
        return batched(_open_text(os.fspath(where), inputs, preprocess), inputs)
    if preprocess is not None:
        raise ReadyInputsError("the data")
    return batched(_open_object(where, inputs), inputs)


# ---- Python objects ------------------------------------------------------------------------------


def _open_object(data: object, inputs: Sequence[InputSpec], name: str = "") -> DataSource:
    """Opens what Python holds; `name` is what the user called it, empty if nothing."""
    if isinstance(data, np.ndarray):
        data = {only_input(inputs, name or "a bare array").name: data}
    if isinstance(data, Mapping):
        where = name or "data"
        arrays = {
            key: MemoryRows(as_array(f"{where}: array '{key}'", array))
            for key, array in data.items()
        }
        return ArraySource(where, arrays, inputs)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return FeedSource(data, inputs, name)
    if callable(data):
        return _open_callable(data, inputs)
    if isinstance(data, Iterator):
        # A generator runs only once, and calibration and verification each need a pass.
        return FeedSource(list(data), inputs)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes):
        return FeedSource(data.__iter__, inputs)
    raise DataError(f"cannot take data from type {type(data).__name__}; {KINDS}")


def _open_callable(
    function: Callable[[], object], inputs: Sequence[InputSpec], name: str = ""
) -> DataSource:
    """Takes what the callable returns: arrays and sequences at once, a stream pass by pass."""
    what = f"data {name}" if name else "the data callable"
    with user_code(what):
        first = function()
    if isinstance(first, np.ndarray | Mapping | Sequence) and not isinstance(first, str | bytes):
        return _open_object(first, inputs, name)
    if not isinstance(first, Iterable) or isinstance(first, str | bytes):
        raise DataError(f"{what} returned type {type(first).__name__}; return an iterable of feeds")
    return FeedSource(function, inputs, name)  # type: ignore[arg-type]


# ---- what a text names ---------------------------------------------------------------------------


def _open_text(text: str, inputs: Sequence[InputSpec], preprocess: Preprocess | None) -> DataSource:
    if not text:
        raise DataError(f"the path of the data is empty; {KINDS}")
    named = ImportedCallable.parse(text)
    if named is None:
        return _open_path(Path(text), inputs, preprocess)
    if preprocess is not None:
        raise ReadyInputsError(f"data {text}")
    return _open_callable(named.load(), inputs, text)


def _open_path(
    path: Path, inputs: Sequence[InputSpec], preprocess: Preprocess | None
) -> DataSource:
    try:
        if path.is_dir():
            return _open_folder(path, inputs, preprocess)
        path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read data {path}: {reason_of(error)}; check the path") from error
    suffix = path.suffix.lower()
    if suffix == LIST_SUFFIX:
        return open_files(str(path), listed_files(path), inputs, preprocess)
    if suffix == ".py":
        raise DataError(f"{path} is code; name what yields the feeds: {path}:FUNCTION")
    if suffix in ARRAY_SUFFIXES and preprocess is None:
        return open_array_file(path, inputs)
    if suffix not in IMAGE_SUFFIXES | ARRAY_SUFFIXES:
        raise DataError(f"cannot take data from {path}; {KINDS}")
    return open_files(str(path), [path], inputs, preprocess)


def _open_folder(
    folder: Path, inputs: Sequence[InputSpec], preprocess: Preprocess | None
) -> DataSource:
    folders = input_folders(folder, inputs)
    if folders is not None:
        return open_per_input(folder, folders, inputs, preprocess)
    files = files_below(folder)
    suffixes = sample_suffixes(files, preprocessed=preprocess is not None)
    if not suffixes:
        held = "neither images nor arrays" if files else "no files"
        raise DataError(f"folder {folder} holds {held}; {KINDS}")
    taken = take(folder, files, suffixes)
    where = f"{folder} ({taken.note})" if taken.note else str(folder)
    return open_files(where, taken.files, inputs, preprocess)
