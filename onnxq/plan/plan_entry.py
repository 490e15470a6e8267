"""Reads parts of a plan file, so that every complaint names the file and the key."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from onnxq.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

__all__ = ["Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One JSON value and where it stands.

    Attributes:
        file: The file's name.
        where: Path of keys inside the file, such as ``values['conv1.weight'].scale``.
        data: What the JSON reader made of it.
    """

    file: str
    where: str
    data: Any

    def fail(self, text: str) -> NoReturn:
        """Raises PlanError with file, place and ``text``."""
        place = f"{self.file}: {self.where}" if self.where else self.file
        raise PlanError(f"{place}: {text}")

    def member(self, key: str) -> Entry:
        """Returns what stands under a key of this object."""
        return Entry(self.file, f"{self.where}.{key}" if self.where else key, self.data[key])

    def members(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Entry]:
        """Returns the members of an object with fixed keys, and refuses all other keys."""
        known = (*required, *optional)
        for key in self._object():
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}"
                self.fail(f"unknown key '{key}'; {hint}")
        for key in required:
            if key not in self.data:
                self.fail(f"the key '{key}' is missing; add it")
        return {key: self.member(key) for key in self.data}

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Yields name and entry for each member of an object with free keys."""
        for key, data in self._object().items():
            yield key, Entry(self.file, f"{self.where}['{key}']", data)

    def elements(self) -> list[Entry]:
        """Returns the elements of a list."""
        if not isinstance(self.data, list):
            self.fail(f"must be a list, not {_kind(self.data)}")
        return [Entry(self.file, f"{self.where}[{i}]", part) for i, part in enumerate(self.data)]

    def text(self) -> str:
        """Returns a text."""
        if not isinstance(self.data, str):
            self.fail(f"must be a text, not {_kind(self.data)}")
        return self.data

    def flag(self) -> bool:
        """Returns true or false."""
        if not isinstance(self.data, bool):
            self.fail(f"must be true or false, not {_kind(self.data)}")
        return self.data

    def integer(self, least: int) -> int:
        """Returns an integer of at least ``least``."""
        if not isinstance(self.data, int) or isinstance(self.data, bool) or self.data < least:
            self.fail(f"must be an integer of at least {least}, not {_kind(self.data)}")
        return self.data

    def number(self) -> float:
        """Returns a number; "inf" and "nan", which JSON cannot hold, are written as texts."""
        if self.data in ("inf", "-inf", "nan"):
            return float(self.data)
        if not _is_number(self.data):
            self.fail(f"must be a number, not {_kind(self.data)}")
        return float(self.data)

    def floats(self) -> npt.NDArray[np.float32]:
        """Returns a number, or nested lists of numbers, as a finite float32 array."""
        with np.errstate(over="ignore"):
            array = self._array("numbers").astype(np.float32)
        if not np.isfinite(array).all():
            self.fail("holds a number that is too large for float32")
        return array

    def integers(self) -> npt.NDArray[np.int32]:
        """Returns an integer, or nested lists of integers, as an int32 array."""
        array = self._array("integers")
        limits = np.iinfo(np.int32)
        if (array != np.rint(array)).any() or array.min(initial=0) < limits.min:
            self.fail("must hold integers of at most 32 bits")
        if array.max(initial=0) > limits.max:
            self.fail("must hold integers of at most 32 bits")
        return array.astype(np.int32)

    def _array(self, what: str) -> npt.NDArray[np.float64]:
        for leaf in _leaves(self.data):
            if not _is_number(leaf):
                self.fail(f"must hold {what} alone, not {_kind(leaf)}")
        try:
            return np.array(self.data, np.float64)
        except ValueError:
            self.fail("its inner lists differ in length")

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.data, dict):
            self.fail(f"must be an object {{…}}, not {_kind(self.data)}")
        return self.data


def _leaves(data: object) -> Iterator[object]:
    if isinstance(data, list):
        for part in data:
            yield from _leaves(part)
    else:
        yield data


def _is_number(data: object) -> bool:
    if isinstance(data, bool) or not isinstance(data, int | float):
        return False
    try:
        float(data)
    except OverflowError:
        return False
    return True


def _kind(data: object) -> str:
    """Returns what the reader of a message calls ``data``."""
    if isinstance(data, dict):
        return "an object {…}"
    if isinstance(data, list):
        return "a list"
    if data is None:
        return "null"
    text = f"'{data}'" if isinstance(data, str) else str(data).lower()
    return text if len(text) <= 40 else f"{text[:40]}…"
