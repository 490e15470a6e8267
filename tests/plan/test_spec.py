from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onnxq.errors import PlanError
from onnxq.plan.spec import IntType, PerAxis, PerTensor, QParams, QuantSpec


@pytest.mark.parametrize(
    ("name", "qmin", "qmax", "storage"),
    [
        ("int2", -2, 1, "int8"), ("uint2", 0, 3, "uint8"), ("int4", -8, 7, "int8"),
        ("uint4", 0, 15, "uint8"), ("int8", -128, 127, "int8"), ("uint8", 0, 255, "uint8"),
        ("int9", -256, 255, "int16"), ("uint16", 0, 65535, "uint16"),
        ("int32", -(2**31), 2**31 - 1, "int32"),
    ],
)  # fmt: skip
def test_integer_types(name: str, qmin: int, qmax: int, storage: str) -> None:
    dtype = IntType.parse(name)
    assert (dtype.qmin, dtype.qmax, dtype.storage) == (qmin, qmax, np.dtype(storage))
    assert str(dtype) == name


@pytest.mark.parametrize("name", ["int1", "int33", "int", "float8", "uint", "xint8", "int08x", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(PlanError, match="is no integer type; use"):
        IntType.parse(name)


def test_params_are_copied_and_read_only() -> None:
    scale, zero_point = np.ones(2, np.float32), np.zeros(2, np.int32)
    params = QParams(scale, zero_point)
    scale[0] = 7
    assert params.scale.tolist() == [1, 1]
    for array in (params.scale, params.zero_point):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.scale = scale  # type: ignore[misc]


def test_params_have_the_stored_types() -> None:
    params = QParams(np.asarray(0.1), np.asarray(3, np.uint8))
    assert params.scale.dtype == np.float32
    assert params.zero_point.dtype == np.int32


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e-60])
def test_scales_are_positive_and_finite(scale: float) -> None:
    with pytest.raises(PlanError, match="not a positive finite number; check"):
        QParams(np.asarray([1.0, scale]), np.zeros(2, np.int32))


def test_scale_and_zero_point_have_one_shape() -> None:
    with pytest.raises(PlanError, match=r"shape \(2,\) but zero point \(\)"):
        QParams(np.ones(2, np.float32), np.asarray(0))


def test_params_are_the_same_if_they_map_codes_alike() -> None:
    one = QParams(np.ones(2, np.float32), np.zeros(2, np.int32), "minmax")
    assert one.same_as(QParams(np.ones(2, np.float32), np.zeros(2, np.int32), "lp", 2.0, 0.1))
    assert not one.same_as(QParams(np.ones(2, np.float32), np.ones(2, np.int32)))
    assert not one.same_as(QParams(np.full(2, 0.5, np.float32), np.zeros(2, np.int32)))


def test_specs_compare_by_content() -> None:
    one = QuantSpec(IntType.parse("int8"), True, PerAxis(0))
    assert one == QuantSpec(IntType.parse("int8"), True, PerAxis(0))
    assert one != QuantSpec(IntType.parse("int8"), True)
    assert QuantSpec(IntType.parse("int8"), True).granularity == PerTensor()
