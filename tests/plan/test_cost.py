from __future__ import annotations

import pytest

from onnxq.errors import TargetError
from onnxq.plan.cost import CostTable, KernelCost, Work, check_costs

DATA = {
    "quantize": {"output_ns": 0.5, "call_us": 6},
    "dequantize": {"output_ns": 0.25},
    "dense": {
        "float": {"mac_ns": 0.02, "call_us": 3},
        "integer": {"mac_ns": 0.01, "output_ns": 0.1, "patch_ns": 0.03, "call_us": 5},
    },
}


def test_time_is_the_sum_of_its_parts() -> None:
    cost = KernelCost(mac_ns=2, output_ns=30, patch_ns=400, call_us=5)
    assert cost.microseconds(Work(macs=1000, outputs=100, patches=10)) == 2 + 3 + 4 + 5


def test_no_work_costs_the_call() -> None:
    assert KernelCost(mac_ns=1, call_us=7).microseconds(Work()) == 7


def test_a_table_is_read() -> None:
    table = CostTable.parse(DATA)
    assert table.quantize == KernelCost(output_ns=0.5, call_us=6)
    assert table.dequantize == KernelCost(output_ns=0.25)
    assert set(table.integer) == set(table.real) == {"dense"}
    assert table.real["dense"] == KernelCost(mac_ns=0.02, call_us=3)


def test_times_are_integer_then_float() -> None:
    integer, real = CostTable.parse(DATA).times("dense", Work(1e6, 1e4, 1e5))
    assert integer == pytest.approx(10 + 1 + 3 + 5)
    assert real == pytest.approx(20 + 3)


def test_what_has_no_entry_costs_nothing() -> None:
    assert CostTable.parse(DATA).times("Einsum", Work(1e6, 1e6, 1e6)) == (0, 0)


@pytest.mark.parametrize(
    ("where", "entry", "message"),
    [
        ("dense", {"float": {"mac_us": 1.0}, "integer": {}}, r"\[costs.dense.float\].*mac_us"),
        ("quantize", {"mac_us": 1.0}, r"\[costs.quantize\].*mac_us"),
        ("dense", {"float": {}}, r"\[costs.dense\] needs float = and integer ="),
        ("dense", {"float": {"mac_ns": -1}, "integer": {}}, r"mac_ns must be a number from 0"),
        ("dense", {"float": 3, "integer": {}}, r"\[costs.dense.float\] must be a table"),
    ],
    ids=["side", "conversion", "half", "negative", "number"],
)
def test_a_malformed_cost_is_refused(where: str, entry: object, message: str) -> None:
    with pytest.raises(TargetError, match=rf"mine.toml: .*{message}"):
        check_costs("mine.toml", {**DATA, where: entry})


def test_a_table_needs_both_conversions() -> None:
    check_costs("mine.toml", DATA)
    with pytest.raises(TargetError, match=r"\[costs.dequantize\] is missing"):
        check_costs("mine.toml", {"quantize": {}})
