"""Weights of few bits, through the whole pipeline."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

import onnxq
from onnxq.graph.io import to_bytes
from tests.e2e.networks import classifier, detector, images, integer_heavy
from tests.support import run

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.report.result import Result

NETWORKS = {"classifier": classifier, "detector": detector}


@cache
def optimized(network: str = "detector", *, data: bool = True, **options: object) -> Result:
    feeds = {"x": images(16)} if data else None
    return onnxq.optimize(NETWORKS[network](), feeds, threads=1, **options)  # type: ignore[arg-type]


def large(made: ir.Model) -> set[ir.DataType | None]:
    """Types of the constants that could be whole weights."""
    weights = made.graph.initializers.values()
    return {v.dtype for v in weights if v.const_value is not None and v.const_value.size >= 1024}


@pytest.mark.parametrize(
    ("network", "bits", "opset", "stored"),
    [
        ("detector", 4, 21, ir.DataType.UINT4),
        ("classifier", 3, 21, ir.DataType.UINT4),
        ("classifier", 2, 21, ir.DataType.UINT4),
        ("detector", 2, 25, ir.DataType.UINT2),
    ],
)
def test_no_float_weight_is_left_and_kernels_stay(
    network: str, bits: int, opset: int, stored: ir.DataType
) -> None:
    made, wide = optimized(network, weights=bits, opset=opset), optimized(network)
    assert stored in large(made.model)
    even = {ir.DataType.UINT4: ir.DataType.INT4, ir.DataType.UINT2: ir.DataType.INT2}[stored]
    assert large(made.model) <= {stored, even, ir.DataType.INT8}
    assert {weight.bits for weight in made.weights} <= {bits, 8, 32}
    assert integer_heavy(made.model) == integer_heavy(wide.model)
    assert made.integer_share == wide.integer_share
    assert made.size_after < wide.size_after
    assert made.fidelity.worst is not None
    assert made.fidelity.worst[1] > {2: 2, 3: 6, 4: 10}[bits]


@pytest.mark.parametrize("data", [True, False], ids=["data", "weights alone"])
def test_the_same_bytes_every_time(data: bool) -> None:
    first = optimized(data=data, weights=4)
    again = onnxq.optimize(detector(), {"x": images(16)} if data else None, weights=4, threads=1)
    assert to_bytes(first.model) == to_bytes(again.model)


def test_without_data_the_file_shrinks_and_both_levels_agree() -> None:
    made = optimized(data=False, weights=4)
    assert large(made.model) == {ir.DataType.UINT4, ir.DataType.INT4}
    feeds = {"x": images(1)}
    off, on = run(made.model, feeds, "off")["y"], run(made.model, feeds, "all")["y"]
    assert np.abs(off - on).max() <= 1e-4 * np.abs(off).max()


def test_a_plan_of_few_bits_can_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    made = optimized(weights=3, save_plan=file)
    assert '"levels": [' in file.read_text()
    replayed = onnxq.optimize(detector(), {"x": images(16)}, plan=file, threads=1)
    assert to_bytes(replayed.model) == to_bytes(made.model)


def test_what_is_kept_float_keeps_its_weight() -> None:
    made = optimized(weights=4, keep_float=("node_h[b]",))
    assert ir.DataType.FLOAT in large(made.model)
    assert next(w for w in made.weights if w.node == "node_hb").bits == 32


def test_the_pass_that_stores_the_weights_of_float_layers_can_be_left_out_or_asked_for() -> None:
    name = "store-weights"
    left = optimized("classifier", weights=4, skip=name)
    asked = optimized("classifier", passes=f"+{name}", keep_float=())
    assert {row.name for row in optimized("classifier", weights=4).trace} >= {name}
    assert name not in {row.name for row in left.trace}
    assert name not in {row.name for row in optimized("classifier").trace}
    assert name in {row.name for row in asked.trace}
