"""Opens files whose names are settled: all of them images, or all of them arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.data.arrays import ArraySource, ConcatSource
from onnxq.data.decode import IMAGE_SUFFIXES
from onnxq.data.images import ImageSource
from onnxq.data.npz_stream import npy_rows, npz_rows
from onnxq.data.presets import PRESETS
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnxq.data.base import DataSource, InputSpec
    from onnxq.data.preprocess import Preprocess

ARRAY_SUFFIXES = frozenset({".npz", ".npy"})
KINDS = (
    "give .npz or .npy arrays, a folder of them or of images, a .txt file with their paths, or"
    " package.module:callable or file.py:callable"
)
__all__ = [
    "ARRAY_SUFFIXES",
    "IMAGE_SUFFIXES",
    "KINDS",
    "ReadyInputsError",
    "only_input",
    "open_array_file",
    "open_files",
    "open_images",
    "sample_suffixes",
]


class ReadyInputsError(DataError):
    """Preprocessing was asked for, but the data holds ready inputs."""

    def __init__(self, what: str) -> None:
        """Makes the message.

        Args:
            what: What the data is called.
        """
        super().__init__(
            f"{what} holds ready inputs, to which --preprocess does not apply;"
            " leave it out, or give a folder of images"
        )


def sample_suffixes(files: Sequence[Path], *, preprocessed: bool) -> frozenset[str]:
    """Tells whether images or arrays are the samples among files of both kinds.

    Args:
        files: All the files.
        preprocessed: Whether preprocessing was asked for, which makes images the samples.

    Returns:
        The suffixes of the samples; empty if there are neither.
    """
    suffixes = {file.suffix.lower() for file in files}
    images, arrays = suffixes & IMAGE_SUFFIXES, suffixes & ARRAY_SUFFIXES
    if images and (preprocessed or not arrays):
        return IMAGE_SUFFIXES
    return ARRAY_SUFFIXES if arrays else frozenset()


def open_files(
    where: str,
    files: Sequence[Path],
    inputs: Sequence[InputSpec],
    preprocess: Preprocess | None,
) -> DataSource:
    """Opens image files, or array files.

    Args:
        where: What to call the data in errors and in the report.
        files: At least one file, all of them images or all arrays, in the order of the samples.
        inputs: Inputs of the model.
        preprocess: How images become inputs.

    Raises:
        DataError: A file cannot be read or does not fit the inputs.
    """
    if files[0].suffix.lower() in IMAGE_SUFFIXES:
        return open_images(where, files, only_input(inputs, f"images in {where}"), preprocess)
    if preprocess is not None:
        raise ReadyInputsError(where)
    parts = [open_array_file(file, inputs) for file in files]
    return ConcatSource(where, parts, [file.parent for file in files])


def open_images(
    where: str,
    files: Sequence[Path],
    spec: InputSpec,
    preprocess: Preprocess | None,
    *,
    every_file_counts: bool = False,
) -> ImageSource:
    """Opens image files for one input; see `ImageSource`.

    Raises:
        DataError: There is no preprocessing and none to guess, no file is readable, or the input
            takes no images.
    """
    wanted = preprocess or spec.guess
    if wanted is None:
        raise DataError(
            f"{where} holds images, which need --preprocess {'|'.join(PRESETS)}|FILE.toml: the"
            " model does not tell how it wants them"
        )
    return ImageSource(where, files, spec, wanted, every_file_counts=every_file_counts)


def open_array_file(file: Path, inputs: Sequence[InputSpec]) -> ArraySource:
    """Opens an .npz file, or an .npy file for the only input.

    Raises:
        DataError: The file cannot be read or does not fit the inputs.
    """
    if file.suffix.lower() == ".npz":
        return ArraySource(str(file), npz_rows(file), inputs)
    spec = only_input(inputs, str(file))
    return ArraySource(str(file), {spec.name: npy_rows(file)}, inputs)


def only_input(inputs: Sequence[InputSpec], what: str) -> InputSpec:
    """Returns the model's input where there is but one.

    Raises:
        DataError: The model has several; `what` feeds one.
    """
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise DataError(
            f"{what} feeds one input, but the model has {len(inputs)}; give .npz with one array"
            f" per input, or a folder with one sub-folder per input: {names}"
        )
    return inputs[0]
