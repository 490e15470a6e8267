from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxq.export.raw import description, file_stem, raw_bytes


@pytest.mark.parametrize(
    ("array", "content"),
    [
        (np.array([1, -2], ">i2"), b"\x01\x00\xfe\xff"),
        (np.array([[1, 2], [3, 4]], np.uint8).T, b"\x01\x03\x02\x04"),
        (np.array([True, False]), b"\x01\x00"),
        (np.array([-8, 7], ml_dtypes.int4), b"\xf8\x07"),
        (np.array(1.0, np.float32), b"\x00\x00\x80\x3f"),
    ],
)
def test_bytes_are_little_endian_and_in_order(array: np.ndarray, content: bytes) -> None:
    assert raw_bytes(array) == content


def test_what_says_how_to_read() -> None:
    assert description(np.zeros((2, 3), np.uint64)) == {"dtype": "uint64", "shape": [2, 3]}
    assert description(np.zeros(2, ml_dtypes.int4)) == {"dtype": "int4", "shape": [2]}


def test_file_names_are_plain() -> None:
    assert file_stem(7, "/features/conv.0/Add_ü:0") == "0007_features_conv_0_Add_0"
    assert file_stem(12, "/") == "0012"
    assert len(file_stem(1, "x" * 500)) < 70
