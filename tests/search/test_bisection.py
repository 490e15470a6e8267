from __future__ import annotations

import pytest

from onnxq.search.bisection import least_amount_that


@pytest.mark.parametrize("wanted", [0.1, 0.123, 0.2, 0.3])
def test_the_least_amount_is_found(wanted: float) -> None:
    tried: list[float] = []

    def holds(amount: float) -> bool:
        tried.append(amount)
        return amount >= wanted

    found = least_amount_that(holds, 0.1, 0.3)

    assert found in tried
    assert wanted <= found <= 1.02 * wanted
    assert len(tried) <= 9


def test_nothing_does() -> None:
    assert least_amount_that(lambda _: False, 0.1, 0.3) is None


def test_one_amount_is_tried_once() -> None:
    tried: list[float] = []

    def holds(amount: float) -> bool:
        tried.append(amount)
        return False

    assert least_amount_that(holds, 0.1, 0.1) is None
    assert tried == [0.1]
