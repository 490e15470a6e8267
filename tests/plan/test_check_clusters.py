from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.plan.check import violations
from onnxq.plan.clusters import Cluster, ClusterSplit
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import PerAxis
from onnxq.plan.target import load_target
from tests.passes.rewrite.building import build, rng_weight
from tests.plan.checking import planned

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

CPU = load_target("cpu")
X, W = planned(), planned("int8", PerAxis(0), [0.1] * 4, [0] * 4)
PART = Cluster(np.array([1, 3]), X, {"node_c": W})
SPLIT = ClusterSplit((PART,), {"node_c": X})


@cache
def network() -> ir.Model:
    """x → HardSwish → Conv → Relu → y, beside it z = LeakyRelu(c)."""
    return build(
        """f (float[1,6,4,4] x, float[4,6,1,1] w) => (float[1,4,4,4] y) {
            a = HardSwish(x) c = Conv(a, w) y = Relu(c) }""",
        w=rng_weight(4, 6, 1, 1),
    )


def plan(split: ClusterSplit = SPLIT, name: str = "a") -> QuantPlan:
    return QuantPlan(
        {"a": X, "w": W, "y": X},
        clusters={name: split},
        float_nodes={"node_a": "splits"},
    )


def found(edited: QuantPlan) -> list[str]:
    return violations(edited, network(), CPU, {})


def test_what_can_be_cut_is_right() -> None:
    assert found(plan()) == []


def test_columns_may_have_codes() -> None:
    codes = np.zeros((4, 2, 1, 1), np.int32)
    assert found(plan(part(weights={"node_c": replace(W, codes=codes)}))) == []


def part(**changes: object) -> ClusterSplit:
    return ClusterSplit((replace(PART, **changes),), {"node_c": X})  # type: ignore[arg-type]


WRONG: dict[str, tuple[Callable[[], QuantPlan], str]] = {
    "no value": (lambda: plan(name="b"), "the model has no such value"),
    "not planned": (lambda: plan(name="x"), "not planned with one scale"),
    "an integer writer": (lambda: replace(plan(), float_nodes={}), "runs on integers"),
    "a float reader": (
        lambda: replace(plan(), float_nodes={"node_a": "", "node_c": ""}), "'node_c' is float",
    ),
    "too large a channel": (lambda: plan(part(channels=[1, 6])), "among the 6 channels"),
    "all channels": (lambda: plan(part(channels=range(6))), "not all of them"),
    "a channel twice": (
        lambda: plan(ClusterSplit((PART, PART), {"node_c": X})), "not each once",
    ),
    "another dtype": (lambda: plan(part(value=planned("uint4"))), "the dtype of the whole value"),
    "no weight": (lambda: plan(part(weights={})), "no fitting plan of its columns"),
    "scales of too few channels": (
        lambda: plan(part(weights={"node_c": planned("int8", PerAxis(0), [1.0], [0])})),
        "no fitting plan of its columns",
    ),
    "scales along the wrong axis": (
        lambda: plan(part(weights={"node_c": planned("int8", PerAxis(1), [1, 1], [0, 0])})),
        "no fitting plan of its columns",
    ),
    "codes of another shape": (
        lambda: plan(part(weights={"node_c": replace(W, codes=np.zeros((4, 6, 1, 1), np.int32))})),
        "no fitting plan of its columns",
    ),
    "float sums of a convolution": (
        lambda: plan(ClusterSplit((PART,))), "the partial sums of 'node_c' need one scale",
    ),
    "scales per channel behind it": (
        lambda: plan().with_values({"y": planned("uint8", PerAxis(1), [0.1] * 4, [0] * 4)}),
        "must write one scale",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line(case: str) -> None:
    edit, message = WRONG[case]
    (line,) = found(edit())
    assert message in line
    assert line.startswith("clusters of '")


def test_sums_of_products_are_float() -> None:
    source = build(
        "f (float[2,6] x, float[6,5] w) => (float[2,5] y) { y = MatMul(x, w) }", w=rng_weight(6, 5)
    )
    w = planned("int8", PerAxis(1), [0.1] * 5, [0] * 5)
    split = ClusterSplit((Cluster(np.array([1]), X, {"node_y": w}),), {})
    right = QuantPlan({"x": X, "w": w}, clusters={"x": split})
    assert violations(right, source, CPU, {}) == []
    wrong = replace(right, clusters={"x": replace(split, sums={"node_y": X})})
    (line,) = violations(wrong, source, CPU, {})
    assert "the partial sums of 'node_y' are float" in line
