from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING

import pytest

from onnxq.errors import TargetError
from onnxq.plan.cost import CostTable, KernelCost, Work
from onnxq.plan.target import OpKind, known_targets, load_target

if TYPE_CHECKING:
    from pathlib import Path


def test_every_target_in_the_package_loads() -> None:
    assert "cpu" in known_targets()
    for name in known_targets():
        found = load_target(name)
        assert found.name == name
        assert found.ops
        assert found.opset >= 21


def test_the_cpu_multiplies_unsigned_by_signed_bytes() -> None:
    cpu = load_target("cpu")
    assert (str(cpu.activation), str(cpu.weight)) == ("uint8", "int8")
    assert cpu.pair_bound == 32767
    assert cpu.ops["Conv"].kind is OpKind.HEAVY
    assert cpu.ops["Conv"].needs_output
    assert not cpu.ops["Gemm"].needs_output
    assert cpu.ops["Add"].inputs is None
    assert cpu.ops["MaxPool"].inputs == (0,)
    assert not {"AveragePool", "Softmax", "ConvTranspose", "LayerNormalization"} & set(cpu.ops)


def test_another_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(TargetError, match=r"no target 'gpu'; there are: .*cpu"):
        load_target("gpu")


_FILE = """
activation = "uint8"
weight = "int8"
opset = 21
[ops.Conv]
{rule}
[costs.quantize]
call_us = 1.0
[costs.dequantize]
{cost}
"""


@pytest.mark.parametrize(
    ("rule", "cost", "message"),
    [
        ("inputs = [0]", "", r"\[ops.Conv\] needs kind = one of heavy"),
        ('kind = "light"', "", r"\[ops.Conv\] needs kind = one of heavy"),
        ('kind = "heavy"', "speed = 1", r"\[costs.dequantize\] does not know \['speed'\]"),
    ],
    ids=["no-kind", "bad-kind", "bad-cost"],
)
def test_a_malformed_file_is_refused_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, cost: str, message: str
) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.toml").write_text(_FILE.format(rule=rule, cost=cost))
    monkeypatch.setattr(importlib.resources, "files", lambda _package: tmp_path)
    with pytest.raises(TargetError, match=message):
        load_target("mine")


def test_a_kernel_costs_what_its_coefficients_say() -> None:
    cost = KernelCost(mac_ns=0.5, output_ns=2.0, patch_ns=0.25, call_us=3.0)
    assert cost.microseconds(Work(macs=2000, outputs=1000, patches=400)) == pytest.approx(6.1)
    assert cost.microseconds(Work()) == 3.0


def test_a_table_tells_integer_from_float_times() -> None:
    table = CostTable.parse(
        {
            "Add": {"integer": {"output_ns": 1.0}, "float": {"output_ns": 3, "call_us": 1}},
            "quantize": {"call_us": 2},
            "dequantize": {"output_ns": 4},
        }
    )
    assert table.times("Add", Work(outputs=1000)) == (1.0, 4.0)
    assert table.times("unheard of", Work(macs=1e9)) == (0.0, 0.0)
    assert (table.quantize.call_us, table.dequantize.output_ns) == (2.0, 4.0)
    assert set(table.integer) == {"Add"}


def test_large_dense_work_is_faster_on_integers() -> None:
    times = load_target("cpu").costs.times("dense", Work(macs=1e8, outputs=1e5, patches=1e6))
    assert times[0] < times[1]
