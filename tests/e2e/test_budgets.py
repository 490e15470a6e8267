"""Bits of their own for layers, through the whole pipeline."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import pytest

import onnxq
from onnxq.errors import ConfigError, RequirementError
from onnxq.graph.io import to_bytes
from onnxq.options import SENSITIVITIES
from tests.e2e.networks import classifier, detector, float_heavy, images, integer_heavy
from tests.support import run

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.report.result import Result

FEEDS = {"x": images(16)}


@cache
def optimized(*budget: str, network: str = "detector", **options: Any) -> Result:  # noqa: ANN401
    model = {"classifier": classifier, "detector": detector}[network]()
    options = {"rounding": "nearest", **options}
    return onnxq.optimize(model, FEEDS, threads=1, budget=budget, **options)


def bits_of(result: Result) -> dict[str, int]:
    return {weight.node: weight.bits for weight in result.weights}


def told(result: Result) -> list[str]:
    return [n.text for n in result.notes if n.source == "allocate-bits" and n.where == "graph"]


@pytest.mark.parametrize(("share", "rounding"), [(0.17, "gptq+cd"), (0.22, "nearest")])
def test_the_file_has_the_size_that_was_counted(share: float, rounding: str) -> None:
    made = optimized(f"size={share}x", rounding=rounding)

    size = len(to_bytes(made.model)) / made.size_before
    assert size <= share
    counted = float(told(made)[0].split(": ")[1].split("x ")[0])
    assert size == pytest.approx(counted, rel=0.02)
    assert {4, 8} < set(bits_of(made).values()) <= {4, 8, 32}
    assert integer_heavy(made.model) == integer_heavy(optimized().model)


@pytest.mark.slow
def test_more_bits_come_closer_to_float() -> None:
    ratios = []
    for bits in (2.6, 4.5, 7.5):
        worst = optimized(f"avg-weight-bits={bits}", opset=25).fidelity.worst
        assert worst is not None
        ratios.append(worst[1])
    assert sorted(ratios) == ratios


def test_bits_are_truly_mixed() -> None:
    """2, 4 and 8 bits and float in one file; all kernels stay, and both levels agree."""
    made = optimized("avg-weight-bits=4.2", opset=25, keep_float=("node_box",))
    weights = made.model.graph.initializers.values()
    kinds = {v.dtype for v in weights if v.const_value is not None and v.const_value.size >= 128}
    widths = bits_of(made)

    assert set(widths.values()) == {2, 4, 8, 32}
    assert kinds == {ir.DataType.INT2, ir.DataType.INT4, ir.DataType.INT8, ir.DataType.FLOAT}
    assert widths["node_box"] == 32
    assert "node_box" in float_heavy(made.model)
    feeds = {"x": images(1)}
    off, on = run(made.model, feeds, "off")["y"], run(made.model, feeds, "all")["y"]
    assert np.abs(off - on).mean() <= 0.02 * np.abs(off).max()


def test_several_budgets_hold_together() -> None:
    made = optimized("size=0.3x", "bops=0.069x")

    size, bops, _, _ = told(made)
    assert "does not bind" in size
    assert "does not bind" not in bops
    assert {3, 4, 8} & set(bits_of(made).values())


def test_activations_get_bits_of_their_own_where_operations_are_counted() -> None:
    made = optimized("bops=0.072x")
    bits = {planned.spec.dtype.bits for planned in made.plan.values.values()}
    told_of = {n.where: n.text for n in made.notes if n.source == "allocate-bits"}
    narrow = [
        name
        for name, planned in made.plan.values.items()
        if planned.spec.dtype.bits == 4 and not planned.spec.dtype.signed
    ]

    assert {4, 8} <= bits
    assert narrow
    assert any(
        told_of[name].startswith("4 bits; cost of bits 4: ") for name in narrow if name in told_of
    )
    feeds = {"x": images(1)}
    off, on = run(made.model, feeds, "off")["y"], run(made.model, feeds, "all")["y"]
    assert np.abs(off - on).mean() <= 0.02 * np.abs(off).max()


def test_time_that_is_left_goes_to_float_layers() -> None:
    tight, loose = optimized("latency=0.8x"), optimized("latency=1x")

    assert tight.integer_share > 0
    assert loose.integer_share == 0
    assert set(bits_of(loose).values()) == {32}


def test_float_layers_store_few_bits_where_the_file_has_to_be_small() -> None:
    """They are rounded by what comes out of them, and the file is no larger than was asked for."""
    made = optimized("latency=1x", "size=0.19x", rounding="gptq+cd")
    nearest = optimized("latency=1x", "size=0.19x")

    assert len(to_bytes(made.model)) <= 0.19 * made.size_before
    real = {node: bits for node, bits in bits_of(made).items() if node in made.plan.float_nodes}
    assert 4 in real.values()
    rounded = {note.where for note in made.notes if note.source == "round-weights"}
    assert {node for node, bits in real.items() if bits == 4} <= rounded
    assert made.fidelity.worst is not None
    assert nearest.fidelity.worst is not None
    assert made.fidelity.worst[1] > nearest.fidelity.worst[1] + 1
    feeds = {"x": images(1)}
    off, on = run(made.model, feeds, "off")["y"], run(made.model, feeds, "all")["y"]
    assert np.abs(off - on).mean() <= 0.02 * np.abs(off).max()


@pytest.mark.parametrize("sensitivity", SENSITIVITIES[1:])
def test_every_way_to_tell_what_bits_cost(sensitivity: str) -> None:
    made = optimized("size=0.2x", network="classifier", sensitivity=sensitivity)

    assert made.size_after <= 0.2 * made.size_before
    assert f"{sensitivity} cost" in told(made)[-1]


def test_measured_is_the_default_where_that_is_affordable() -> None:
    cost, joint = told(optimized("size=0.22x"))[-2:]
    assert cost.startswith("measured cost: ")
    assert "affordable" in cost
    assert re.fullmatch(
        r"with all layers rounded as each method chooses: \S+ \(measured\), \S+ \(quadratic\);"
        r" least taken",
        joint,
    )


def test_the_same_bytes_every_time() -> None:
    again = onnxq.optimize(detector(), FEEDS, threads=1, budget=["size=0.22x"], rounding="nearest")
    assert to_bytes(again.model) == to_bytes(optimized("size=0.22x").model)


def test_a_plan_of_mixed_bits_can_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    made = optimized("size=0.22x", save_plan=file)
    replayed = onnxq.optimize(detector(), FEEDS, plan=file, threads=1)
    assert to_bytes(replayed.model) == to_bytes(made.model)


def test_too_small_a_budget_is_said_in_one_line() -> None:
    with pytest.raises(RequirementError, match=r"size=0.05x cannot be met: the least is 0\.1") as e:
        optimized("size=0.05x")
    assert "--opset 25" in str(e.value)
    assert "\n" not in str(e.value)


def test_a_budget_needs_data() -> None:
    with pytest.raises(ConfigError, match="choosing bits needs samples"):
        onnxq.optimize(detector(), None, budget="size=0.2x")
