from __future__ import annotations

import pytest

from onnxq.passes.rewrite.sum_to_add import SumToAddPass
from tests.passes.rewrite.building import build, rewritten


@pytest.mark.parametrize(
    ("inputs", "ops"),
    [("a, b", ["Add"]), ("a, b, c", ["Add", "Add"]), ("a, a", ["Add"])],
    ids=["two", "three", "twice the same"],
)
def test_becomes_additions(inputs: str, ops: list[str]) -> None:
    graph = build(
        f"f (float[2,3,4,4] a, float[2,3,4,4] b, float[1,3,1,1] c) => (float[2,3,4,4] y) "
        f"{{ y = Sum({inputs}) }}"
    )
    assert rewritten(SumToAddPass(), graph).ops == ops


def test_rule_2_one_value_is_itself() -> None:
    graph = build("f (float[2,3] x) => (float[2,3] y) { r = Relu(x) s = Sum(r) y = Neg(s) }")
    assert rewritten(SumToAddPass(), graph).ops == ["Relu", "Neg"]


def test_rule_2_a_copy_of_an_input_stays() -> None:
    graph = build("f (float[2,3] x) => (float[2,3] y) { y = Sum(x) }")
    assert rewritten(SumToAddPass(), graph).ops == ["Sum"]
