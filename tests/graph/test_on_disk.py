from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph import on_disk
from onnxq.graph.on_disk import kept


@pytest.fixture(autouse=True)
def _large_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "_LARGE", 64)


def _is_mapped(array: np.ndarray) -> bool:
    return isinstance(array.base, np.memmap)


def test_a_large_array_is_mapped_and_equal() -> None:
    array = np.arange(60, dtype=np.float32).reshape(6, 10).T
    found = kept(array)
    assert _is_mapped(found)
    assert type(found) is np.ndarray
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_a_small_array_is_a_copy_of_its_own() -> None:
    array = np.zeros(4, np.int8)
    found = kept(array)
    array[0] = 1
    assert not _is_mapped(found)
    assert found[0] == 0


def test_what_is_on_disk_already_is_not_written_again() -> None:
    found = kept(np.zeros(100))
    assert kept(found) is found


def test_without_room_the_array_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onnxq.graph.on_disk.tempfile.TemporaryFile", full)
    array = np.arange(100)
    found = kept(array)
    assert not _is_mapped(found)
    np.testing.assert_array_equal(found, array)
