"""Which plans are next to the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QParams, QuantSpec
from onnxq.search.similar import alike, first_alike

U8 = QuantSpec(IntType.parse("uint8"), symmetric=False)


def plan(scale: float, zero_point: int = 10) -> QuantPlan:
    params = QParams(np.asarray(scale, np.float32), np.asarray(zero_point))
    return QuantPlan({"x": ValuePlan(U8, params)})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (plan(0.1), True),
        (plan(0.1015), True),
        (plan(0.103), False),
        (plan(0.1, 12), True),
        (plan(0.1, 20), False),
        (plan(0.1).without(["x"]), False),
        (replace(plan(0.1), bias_shift={"n": np.ones(2, np.float32)}), False),
        (replace(plan(0.1), float_nodes={"n": "asked for"}), False),
    ],
)
def test_ends_of_ranges_within_a_fiftieth(other: QuantPlan, same: bool) -> None:
    assert alike(plan(0.1), other) is same


def test_each_candidate_is_like_the_first_that_is_near() -> None:
    candidates = [plan(scale) for scale in (0.1, 0.1015, 0.103, 0.1, 0.104)]

    assert first_alike(candidates) == [0, 0, 2, 0, 2]
