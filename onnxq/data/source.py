"""Opens calibration data of any kind as a `DataSource`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxq.data.arrays import ArraySource, ConcatSource
from onnxq.data.batching import batched
from onnxq.data.decode import IMAGE_SUFFIXES
from onnxq.data.fit import as_array
from onnxq.data.images import ImageSource
from onnxq.data.npz_stream import MemoryRows, npy_rows, npz_rows
from onnxq.data.presets import PRESETS
from onnxq.data.reason import reason_of
from onnxq.data.sequences import FeedSource, Sample, user_code
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

_ARRAY_SUFFIXES = frozenset({".npz", ".npy"})
_KINDS = "give .npz or .npy arrays, or a folder of them or of images"


def open_source(
    where: DataLike, inputs: Sequence[InputSpec], preprocess: Preprocess | None = None
) -> DataSource:
    """Opens data and checks all that can be checked without reading the samples.

    Args:
        where: A .npz or .npy file; a folder of such files or of images, taken by name; an image;
            arrays in memory (input name → array, or one array for one input), the first axis
            counting samples; a sequence of feeds; or a callable that returns an iterable of feeds,
            the same on every call.
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
        if not os.fspath(where):
            raise DataError(f"the path of the data is empty; {_KINDS}")
        return batched(_open_path(Path(where), inputs, preprocess), inputs)
    if preprocess is not None:
        raise DataError(_no_preprocess("the data"))
    return batched(_open_object(where, inputs), inputs)


def _no_preprocess(what: str) -> str:
    return (
        f"{what} holds ready inputs, to which --preprocess does not apply;"
        " leave it out, or give a folder of images"
    )


def _open_object(data: object, inputs: Sequence[InputSpec]) -> DataSource:
    if isinstance(data, np.ndarray):
        data = {_only_input(inputs, "a bare array").name: data}
    if isinstance(data, Mapping):
        arrays = {
            name: MemoryRows(as_array(f"data: array '{name}'", array))
            for name, array in data.items()
        }
        return ArraySource("data", arrays, inputs)
    if isinstance(data, Sequence) and not isinstance(data, bytes):
        return FeedSource(data, inputs)
    if callable(data):
        return _open_callable(data, inputs)
    if isinstance(data, Iterator):
        # A generator runs only once, and calibration and verification each need a pass.
        return FeedSource(list(data), inputs)
    if isinstance(data, Iterable) and not isinstance(data, bytes):
        return FeedSource(data.__iter__, inputs)
    raise DataError(f"cannot take data from a {type(data).__name__}; {_KINDS}")


def _open_callable(function: Callable[[], object], inputs: Sequence[InputSpec]) -> DataSource:
    """Takes what the callable returns: arrays and sequences at once, a stream pass by pass."""
    with user_code():
        first = function()
    if isinstance(first, np.ndarray | Mapping | Sequence):
        return _open_object(first, inputs)
    if not isinstance(first, Iterable):
        raise DataError(
            f"the data callable returned a {type(first).__name__}; return an iterable of feeds"
        )
    return FeedSource(function, inputs)  # type: ignore[arg-type]


def _only_input(inputs: Sequence[InputSpec], what: str) -> InputSpec:
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise DataError(
            f"{what} feeds one input, but the model has {len(inputs)};"
            f" give .npz with one array per input: {names}"
        )
    return inputs[0]


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
    if suffix in IMAGE_SUFFIXES:
        return _open_images(path, [path], inputs, preprocess)
    if suffix not in _ARRAY_SUFFIXES:
        raise DataError(f"cannot take data from {path}; {_KINDS}")
    if preprocess is not None:
        raise DataError(_no_preprocess(str(path)))
    return _open_arrays(path, inputs)


def _open_folder(
    folder: Path, inputs: Sequence[InputSpec], preprocess: Preprocess | None
) -> DataSource:
    files = sorted(
        (file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")),
        key=lambda file: file.name,
    )
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    arrays = [file for file in files if file.suffix.lower() in _ARRAY_SUFFIXES]
    if not files:
        raise DataError(f"folder {folder} holds no files; {_KINDS}")
    if images and (preprocess is not None or not arrays):
        return _open_images(folder, images, inputs, preprocess)
    if not arrays:
        raise DataError(f"folder {folder} holds neither images nor arrays; {_KINDS}")
    if preprocess is not None:
        raise DataError(_no_preprocess(f"folder {folder}"))
    return ConcatSource(str(folder), [_open_arrays(file, inputs) for file in arrays])


def _open_images(
    where: Path, files: Sequence[Path], inputs: Sequence[InputSpec], preprocess: Preprocess | None
) -> DataSource:
    if preprocess is None:
        raise DataError(
            f"{where} holds images, which need --preprocess {'|'.join(PRESETS)}|FILE.toml"
        )
    return ImageSource(str(where), files, _only_input(inputs, f"images in {where}"), preprocess)


def _open_arrays(file: Path, inputs: Sequence[InputSpec]) -> DataSource:
    if file.suffix.lower() == ".npz":
        return ArraySource(str(file), npz_rows(file), inputs)
    spec = _only_input(inputs, str(file))
    return ArraySource(str(file), {spec.name: npy_rows(file)}, inputs)
