"""Samples from image files."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from onnxq.data.base import DataSource, Feed, Picture, readable
from onnxq.data.decode import check_header, load_rgb
from onnxq.data.fit import fixed_batch, to_feed
from onnxq.data.grouping import grouped
from onnxq.data.guess import Guess
from onnxq.data.preprocessor import Preprocessor
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from PIL import Image

    from onnxq.data.base import InputSpec
    from onnxq.data.preprocess import Preprocess

logger = logging.getLogger(__name__)

_CHECKED_AT_ONCE = 50_000


class ImageSource(DataSource):
    """Image files, decoded and preprocessed one at a time.

    Files with an unreadable header are left out at once and not counted; files whose pixels turn
    out broken are left out when they are reached. Both are recorded in `skipped`. In a large tree
    of folders, where reading every header would take minutes, the headers too wait until then.
    """

    def __init__(
        self,
        where: str,
        files: Sequence[Path],
        spec: InputSpec,
        preprocess: Preprocess | Guess,
        *,
        every_file_counts: bool = False,
    ) -> None:
        """Reads the header of every file, unless there are very many in sub-folders.

        Args:
            where: What to call the data in errors and in the report.
            files: Image files, in the order of the samples.
            spec: The only input of the model.
            preprocess: How to make inputs of images, asked for or guessed; bound to `spec` here.
            every_file_counts: Whether sample i is file i even where others are unreadable; then
                no header is read here.

        Raises:
            DataError: No file is readable, or the input cannot take images made this way.
        """
        self._where = where
        self._spec = spec
        self._told_by = f" ({preprocess.reason})" if isinstance(preprocess, Guess) else ""
        if isinstance(preprocess, Guess):
            preprocess = preprocess.preprocess
        self._preprocess = preprocess.for_input(spec)
        self._preprocessor = Preprocessor(self._preprocess)
        self._skipped: dict[str, str] = {}
        large = len(files) > _CHECKED_AT_ONCE and len({file.parent for file in files}) > 1
        later = every_file_counts or large
        self._files = [file for file in files if later or self._has_header(file)]
        if not self._files:
            file, reason = next(iter(self._skipped.items()))
            raise DataError(
                f"{where}: none of {len(files)} images is readable (first {file}: {reason});"
                " check the files"
            )

    def _has_header(self, file: Path) -> bool:
        try:
            check_header(file)
        except DataError as error:
            self._skip(file, error)
            return False
        return True

    def _skip(self, file: Path, error: DataError) -> None:
        if str(file) not in self._skipped:
            logger.warning("%s is left out: %s", file, error)
            self._skipped[str(file)] = str(error)

    def __len__(self) -> int:
        """Number of images with a readable header."""
        return len(self._files)

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """Numbers of the images of each folder."""
        return grouped(file.parent for file in self._files)

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Files left out so far, as (file, reason)."""
        return list(self._skipped.items())

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing, bound to the model's input."""
        return self._preprocess

    def describe(self) -> str:
        """One line: where, how many images, how they are preprocessed, how many left out."""
        folders = len({file.parent for file in self._files})
        spread = f" in {folders} folders" if folders > 1 else ""
        line = f"{self._where}: {len(self)} images{spread}, {self._preprocess.describe()}"
        line += self._told_by
        return f"{line}; {len(self._skipped)} unreadable left out" if self._skipped else line

    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        """Yields the images at `indices`; see `DataSource.feeds`.

        Raises:
            DataError: Not one of the images can be decoded, or one does not fit the model.
        """
        return readable(
            map(self.feed, indices),
            f"{self._where}: none of the {len(indices)} chosen images can be decoded;"
            " check the files",
        )

    def feed(self, index: int) -> Feed | None:
        """Returns the image at `index`; None, recorded in `skipped`, if it cannot be decoded.

        Raises:
            DataError: The image does not fit the model.
        """
        file = self._files[index]
        try:
            image = load_rgb(file)
        except DataError as error:
            self._skip(file, error)
            return None
        return {self._spec.name: self._array(file, image)}

    def pictures(self, index: int) -> Sequence[Picture]:
        """Returns the image at `index` after resizing; see `DataSource.pictures`."""
        file = self._files[index]
        try:
            levels = self._viewer(load_rgb(file))
        except DataError:
            return ()
        return [Picture(file.stem, np.rint(levels).clip(0, 255).astype(np.uint8))]

    @cached_property
    def _viewer(self) -> Preprocessor:
        """The same geometry, with levels as they are."""
        plain = replace(
            self._preprocess, channels="rgb", scale=1.0, mean=(0.0,), std=(1.0,), layout="nhwc"
        )
        return Preprocessor(plain)

    def _array(self, file: Path, image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype]:
        try:
            pixels = self._preprocessor(image)
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
        dtype = np.dtype(self._spec.dtype)
        levels = np.rint(pixels).astype(dtype) if dtype.kind in "iu" else pixels
        return to_feed(str(file), levels, self._spec, fixed_batch([self._spec]))
