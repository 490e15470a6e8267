"""Row-wise reading of .npy and .npz against numpy's own reader."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.data.npz_stream import MemoryRows, npy_rows, npz_rows
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

ARRAYS = hnp.arrays(
    dtype=st.sampled_from(["<f4", ">f4", "<f8", "f2", "u1", "<i8", ">i2", "?"]),
    shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
)
SAVERS = pytest.mark.parametrize(
    "save", [np.savez, np.savez_compressed], ids=["stored", "deflated"]
)


def _same(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> bool:
    return left.dtype == right.dtype and left.tobytes() == right.tobytes()


@SAVERS
@given(array=ARRAYS, data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_npz_rows_equal_numpys_in_any_order(
    save: Callable[..., None], array: npt.NDArray[Any], data: st.DataObject
) -> None:
    array = np.ascontiguousarray(array)
    order = data.draw(st.lists(st.integers(0, len(array) - 1), max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        save(path, first=np.zeros(3), **{"x/y:0": array})
        rows = list(npz_rows(path)["x/y:0"].rows(order))
    assert len(rows) == len(order)
    assert all(_same(row, array[index, ...]) for row, index in zip(rows, order, strict=True))


@given(array=ARRAYS, data=st.data())
@settings(max_examples=40)
def test_npy_rows_equal_numpys_in_any_order_and_layout(
    array: npt.NDArray[Any], data: st.DataObject
) -> None:
    array = data.draw(st.sampled_from([np.ascontiguousarray, np.asfortranarray]))(array)
    order = data.draw(st.lists(st.integers(0, len(array) - 1), max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npy"
        np.save(path, array)
        rows = [np.array(row) for row in npy_rows(path).rows(order)]
    assert all(_same(row, array[index, ...]) for row, index in zip(rows, order, strict=True))


def test_names_and_shapes_come_from_the_headers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3), np.float32), y=np.zeros((4, 2, 5), np.int64))
    held = npz_rows(tmp_path / "a.npz")
    assert {name: (rows.shape, rows.dtype) for name, rows in held.items()} == {
        "x": ((4, 3), np.dtype(np.float32)),
        "y": ((4, 2, 5), np.dtype(np.int64)),
    }


@SAVERS
def test_reading_rows_takes_a_fraction_of_the_array(
    save: Callable[..., None], tmp_path: Path
) -> None:
    array = np.zeros((64, 2**18), np.float32)  # 64 MiB
    array[:, 0] = range(64)
    save(tmp_path / "a.npz", x=array)
    total = array.nbytes
    del array
    tracemalloc.start()
    try:
        marks = [row[0] for row in npz_rows(tmp_path / "a.npz")["x"].rows(range(64))]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert marks == list(range(64))
    assert peak < total / 10


def test_a_version_2_header_is_read(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array(stream, array, version=(2, 0))
    assert np.array_equal(list(npy_rows(tmp_path / "a.npy").rows([0, 1, 2])), array)


def test_a_zip_with_local_extra_fields_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.float32))
    item = zipfile.ZipInfo("x.npy")
    item.extra = struct.pack("<HH", 0xCAFE, 5) + b"local"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(item, (tmp_path / "x.npy").read_bytes())
    assert list(npz_rows(tmp_path / "a.npz")["x"].rows([3])) == [3.0]


def test_members_that_are_no_arrays_are_ignored(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "hello")
    assert list(npz_rows(tmp_path / "a.npz")) == ["x"]


def test_another_shape_reads_the_same_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.float32))
    rows = npy_rows(tmp_path / "a.npy").with_shape((1, 6))
    assert np.array_equal(next(rows.rows([0])), np.arange(6))


def test_memory_rows_reshape() -> None:
    rows = MemoryRows(np.arange(6)).with_shape((2, 3))
    assert rows.shape == (2, 3)
    assert np.array_equal(next(rows.rows([1])), [3, 4, 5])


def test_fortran_order_in_an_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3)).T)
    with pytest.raises(DataError, match=r"a\.npz: array 'x' is in Fortran order.*ascontiguous"):
        npz_rows(tmp_path / "a.npz")


def test_python_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}, None], dtype=object))
    with pytest.raises(DataError, match=r"array 'x' holds Python objects; save it as a plain"):
        npz_rows(tmp_path / "a.npz")


def test_an_unknown_npy_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x03\x00" + b"\0" * 200)
    with pytest.raises(DataError, match=r"a\.npy has \.npy version \(3, 0\); save it as a plain"):
        npy_rows(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npz", b"", r"is damaged: File is not a zip file; save it again"),
        ("a.npz", b"PK\x03\x04 rubbish", r"is damaged: File is not a zip file; save it again"),
        ("a.npy", b"", r"cannot read .*a\.npy: .*; check or save it again"),
        ("a.npy", b"rubbish rubbish", r"cannot read .*a\.npy: the magic string is not correct"),
    ],
    ids=["npz-empty", "npz-rubbish", "npy-empty", "npy-rubbish"],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    opener = npz_rows if name.endswith("z") else npy_rows
    with pytest.raises(DataError, match=reason) as caught:
        opener(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_truncated_npy_names_the_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 100)))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-900])
    with pytest.raises(DataError, match=r"a\.npy ends within sample 2; save it again"):
        list(npy_rows(tmp_path / "a.npy").rows(range(4)))


def test_a_corrupt_deflated_member_is_named(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(40, 1000))
    np.savez_compressed(tmp_path / "a.npz", x=array)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = b"\xff" * 64
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"array 'x' is damaged: .*; save it again"):
        list(npz_rows(tmp_path / "a.npz")["x"].rows(range(40)))


def test_a_forbidden_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*a\.npy: Permission denied; check or save"):
        npy_rows(tmp_path / "a.npy")
