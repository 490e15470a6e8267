from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import Granularity, IntType, PerAxis, PerBlock, PerTensor, QParams, QuantSpec
from onnxq.plan.weight_error import weight_error
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt


def planned(
    granularity: Granularity, scale: npt.ArrayLike, codes: npt.NDArray[np.int32] | None = None
) -> ValuePlan:
    params = QParams(np.asarray(scale, np.float32), np.zeros(np.shape(scale), np.int32))
    return ValuePlan(QuantSpec(IntType.parse("int4"), True, granularity), params, codes)


WEIGHT = np.clip(rng_weight(4, 6), -1.5, 1.5)


@pytest.mark.parametrize(
    ("granularity", "scale", "spread"),
    [
        (PerTensor(), 0.25, 0.25),
        (PerAxis(0), [0.25, 0.5, 0.25, 1.0], np.reshape([0.25, 0.5, 0.25, 1.0], (4, 1))),
        (PerAxis(-1), [0.25] * 3 + [0.5] * 3, [0.25] * 3 + [0.5] * 3),
        (PerBlock(1, 4), np.full((4, 2), [0.25, 0.5]), [0.25] * 4 + [0.5] * 2),
    ],
    ids=["tensor", "axis 0", "last axis", "blocks"],
)
def test_the_error_is_what_rounding_to_the_grid_leaves(
    granularity: Granularity, scale: npt.ArrayLike, spread: npt.ArrayLike
) -> None:
    steps = np.asarray(spread, np.float32)
    wanted = np.rint(WEIGHT / steps) * steps - WEIGHT
    np.testing.assert_allclose(weight_error(WEIGHT, planned(granularity, scale)), wanted, atol=1e-6)


def test_codes_that_were_chosen_count() -> None:
    codes = np.ones((4, 6), np.int32)
    found = weight_error(WEIGHT, planned(PerTensor(), 0.5, codes))
    np.testing.assert_allclose(found, 0.5 - WEIGHT)


def test_the_zero_point_is_taken_off() -> None:
    params = QParams(np.float32(0.5), np.int32(2))  # type: ignore[arg-type]
    plan = ValuePlan(QuantSpec(IntType.parse("int8"), symmetric=False), params)
    assert np.abs(weight_error(WEIGHT, plan)).max() <= 0.25 + 1e-6
