from __future__ import annotations

import numpy as np
import pytest

from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerBlock, PerTensor, QParams, QuantSpec
from onnxq.plan.weight_codes import code_limits, weight_codes

WEIGHT = np.array([[1, -4, 6], [8, 1000, -1000]], np.float32)


@pytest.mark.parametrize(
    ("name", "symmetric", "limits"),
    [
        ("int8", True, (-127, 127)),
        ("int8", False, (-128, 127)),
        ("int4", True, (-8, 7)),
        ("int2", True, (-2, 1)),
        ("uint4", True, (0, 15)),
    ],
)
def test_symmetric_wide_signed_types_leave_the_least_code_out(
    name: str, symmetric: bool, limits: tuple[int, int]
) -> None:
    assert code_limits(QuantSpec(IntType.parse(name), symmetric)) == limits


@pytest.mark.parametrize(
    ("spec", "scale", "wanted"),
    [
        (PerTensor(), 2.0, [[0, -2, 3], [4, 127, -127]]),
        (PerAxis(0), [1.0, 4.0], [[1, -4, 6], [2, 127, -127]]),
        (PerBlock(1, 2), [[1.0, 3.0], [4.0, 50.0]], [[1, -4, 2], [2, 127, -20]]),
    ],
    ids=["tensor", "axis", "blocks"],
)
@pytest.mark.parametrize("at_once", [1, 1 << 20], ids=["in_parts", "whole"])
def test_rounding(
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    spec: PerTensor | PerAxis | PerBlock,
    scale: list[float],
    wanted: list[list[int]],
) -> None:
    monkeypatch.setattr("onnxq.plan.weight_codes._AT_ONCE", at_once)
    params = QParams(np.array(scale, np.float32), np.zeros(np.shape(scale), np.int32))
    plan = ValuePlan(QuantSpec(IntType.parse("int8"), True, spec), params)
    codes = weight_codes(WEIGHT, plan)
    assert codes.dtype == np.int8
    assert codes.tolist() == wanted


def test_given_codes_win() -> None:
    params = QParams(np.array(1, np.float32), np.array(0))
    given = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    plan = ValuePlan(QuantSpec(IntType.parse("int4"), True), params, given)
    codes = weight_codes(WEIGHT, plan)
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(codes, given)


@pytest.mark.parametrize(("granularity", "scale"), [(PerTensor(), 2.0), (PerAxis(0), [2.0, 2.0])])
def test_levels_are_all_the_codes_there_are(
    granularity: PerTensor | PerAxis, scale: list[float] | float
) -> None:
    params = QParams(np.array(scale, np.float32), np.zeros(np.shape(scale), np.int32))
    spec = QuantSpec(IntType.parse("int8"), True, granularity)
    plan = ValuePlan(spec, params, levels=np.array([-40, -1, 3, 60], np.int32))
    codes = weight_codes(WEIGHT, plan)
    assert codes.dtype == np.int8
    assert codes.tolist() == [[-1, -1, 3], [3, 60, -40]]
    assert plan.bits == 2
