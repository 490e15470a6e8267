"""Falls of losses against their standard error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxq.numerics.paired import surely_less


@pytest.mark.parametrize(
    ("after", "errors", "less"),
    [
        ([3.0, 3.0, 3.0], 1, True),
        ([4.0, 4.0, 4.0], 1, False),
        ([5.0, 5.0, 5.0], 1, False),
        ([3.0, 2.0, 4.0], 1, True),
        ([3.0, 2.0, 4.0], 2, False),
        ([3.0, 3.0, math.inf], 1, False),
    ],
    ids=["all fall", "none falls", "all rise", "mean 1, error 0.58", "two errors", "one is lost"],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_mean_must_exceed_the_errors(after: list[float], errors: float, less: bool) -> None:
    assert surely_less(np.array(after), np.full(3, 4.0), errors) is less


def test_one_sample_has_no_error() -> None:
    assert surely_less(np.array([3.9]), np.array([4.0]))


def test_any_number_is_less_than_none() -> None:
    before = np.array([math.inf, 1.0])

    assert surely_less(np.array([2.0, 2.0]), before)
    assert not surely_less(before, before)
