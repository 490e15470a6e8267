"""Reads the rows of .npy files and .npz members one at a time, never a whole array.

`np.load` of an .npz reads each array whole. Here the .npy header inside the archive is parsed and
rows are read behind it: a stored member by its offset in the archive, a deflated one as a
stream. Plain reads instead of a memory map, whose touched pages would count as memory in use.
Formats: numpy's .npy 1.0 and 2.0 (NEP 1), ZIP (APPNOTE 4.3.7, local file header).
"""

from __future__ import annotations

import contextlib
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from onnxq.data.reason import reason_of
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

_LOCAL_HEADER = struct.Struct("<26xHH")
_ENCRYPTED = 0x1


class Rows(Protocol):
    """An array whose first axis is read row by row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array, rows first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type as stored."""

    def with_shape(self, shape: tuple[int, ...]) -> Rows:
        """Returns the same data under another shape."""

    def rows(self, indices: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
        """Yields the rows at `indices`, in that order."""


@dataclass(frozen=True)
class MemoryRows:
    """Rows of an array in memory."""

    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array, rows first."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the array."""
        return self.array.dtype

    def with_shape(self, shape: tuple[int, ...]) -> MemoryRows:
        """Returns the same data under another shape."""
        return MemoryRows(self.array.reshape(shape))

    def rows(self, indices: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
        """Yields the rows at `indices`, in that order."""
        for index in indices:
            yield np.asarray(self.array[index])


@dataclass(frozen=True)
class FileRows:
    """Rows of an array in a file.

    Attributes:
        path: The .npy or .npz file.
        member: Name of the deflated member to read from; None to read from the file itself.
        where: What to call the array in errors.
        start: Offset of the first row in bytes, in the file or in the unpacked member.
        shape: Shape of the whole array, rows first.
        dtype: Element type as stored.
    """

    path: Path
    member: str | None
    where: str
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def with_shape(self, shape: tuple[int, ...]) -> FileRows:
        """Returns the same data under another shape."""
        return replace(self, shape=shape)

    def rows(self, indices: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
        """Yields the rows at `indices`, in that order; a deflated member is read only forward.

        An index below its predecessor makes a deflated member start again from its beginning.

        Raises:
            DataError: The file is truncated, corrupt or no longer readable.
        """
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        with contextlib.ExitStack() as stack:
            with _readable(self.where):
                stream = stack.enter_context(_opened(self.path, self.member))
            for index in indices:
                with _readable(self.where):
                    stream.seek(self.start + index * size)
                    data = stream.read(size)
                if len(data) != size:
                    raise DataError(f"{self.where} ends within sample {index}; save it again")
                yield np.frombuffer(data, self.dtype).reshape(self.shape[1:])


@contextlib.contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    if member is None:
        with path.open("rb") as stream:
            yield stream
    else:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turns whatever a damaged or forbidden file raises into a DataError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, SyntaxError) as error:
        raise DataError(f"{where} is damaged: {reason_of(error)}; save it again") from error
    except (OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"cannot read {where}: {reason_of(error)}; check or save it again"
        ) from error


def npy_rows(path: Path) -> Rows:
    """Opens a .npy file.

    Args:
        path: The file.

    Returns:
        Its rows; rows of a Fortran-ordered array come through a memory map.

    Raises:
        DataError: The file cannot be read or holds Python objects.
    """
    where = str(path)
    with _readable(where), _opened(path, None) as stream:
        header = _read_header(where, stream)
        if header.fortran:
            return MemoryRows(np.load(path, mmap_mode="r"))
    return FileRows(path, None, where, header.start, header.shape, header.dtype)


def npz_rows(path: Path) -> dict[str, Rows]:
    """Opens an .npz file.

    Args:
        path: The file.

    Returns:
        Array name → rows, for every .npy member, in the order of the archive.

    Raises:
        DataError: The file cannot be read, holds Python objects, or an array in Fortran order.
    """
    with _readable(str(path)), zipfile.ZipFile(path) as archive:
        members = [item for item in archive.infolist() if item.filename.endswith(".npy")]
        return {
            item.filename.removesuffix(".npy"): _member_rows(path, archive, item)
            for item in members
        }


def _member_rows(path: Path, archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> FileRows:
    where = f"{path}: array '{item.filename.removesuffix('.npy')}'"
    with _readable(where), archive.open(item) as stream:
        header = _read_header(where, stream)
    if header.fortran:
        raise DataError(
            f"{where} is in Fortran order, which cannot be read row by row;"
            " save np.ascontiguousarray of it"
        )
    if item.compress_type != zipfile.ZIP_STORED or item.flag_bits & _ENCRYPTED:
        return FileRows(path, item.filename, where, header.start, header.shape, header.dtype)
    start = _stored_offset(path, item) + header.start
    return FileRows(path, None, where, start, header.shape, header.dtype)


def _stored_offset(path: Path, item: zipfile.ZipInfo) -> int:
    """Offset of a stored member's bytes, behind the local header with its name and extra field."""
    with path.open("rb") as stream:
        stream.seek(item.header_offset)
        name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    return item.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int


def _read_header(where: str, stream: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        parsed = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        parsed = np.lib.format.read_array_header_2_0(stream)
    else:
        raise DataError(f"{where} has .npy version {version}; save it as a plain numeric array")
    shape, fortran, dtype = parsed
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects; save it as a plain numeric array")
    return _Header(shape, dtype, fortran and len(shape) > 1, stream.tell())
