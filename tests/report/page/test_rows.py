"""What the table of layers says of each node."""

from __future__ import annotations

import math
from dataclasses import replace

from onnxq.plan.quant_plan import QuantPlan
from onnxq.report.evidence import Evidence
from onnxq.report.page.rows import node_rows
from tests.passes.rewrite.building import build
from tests.report.page.evidence import result_with_evidence
from tests.report.samples import sample_result


def test_without_evidence_there_are_no_rows() -> None:
    assert node_rows(sample_result()) == []


def test_nodes_stand_in_graph_order_with_what_they_are() -> None:
    rows = node_rows(result_with_evidence())

    assert [(row.number, row.op, row.macs) for row in rows] == [
        (1, "Conv", 4 * 3 * 64),
        (2, "Relu", 0),
        (3, "Conv", 4 * 4 * 64),
        (4, "Add", 0),
    ]
    assert rows[0].shape == "1×4×8×8"


def test_what_onnxruntime_ran_is_told_even_by_another_name() -> None:
    # The second convolution's kernel goes by the name of its output.
    assert [row.runs for row in node_rows(result_with_evidence())] == [
        "integer",
        "integer",
        "float",
        "float",
    ]


def test_a_fused_kernel_is_its_convolutions() -> None:
    rows = node_rows(result_with_evidence())

    assert (rows[0].float_us, rows[0].integer_us) == (20.0, 11.0)
    assert (rows[1].float_us, rows[3].float_us) == (None, 3.0)


def test_a_layers_error_and_value_stand_at_its_node() -> None:
    rows = node_rows(result_with_evidence())

    assert (rows[0].value, rows[0].whole, rows[0].value_bits) == ("r", 41.5, 8)
    assert (rows[2].whole, rows[2].own, rows[2].value_bits) == (33.25, 60.0, None)
    assert rows[3].whole == math.inf
    assert rows[1].whole is None


def test_a_float_node_has_its_reason() -> None:
    assert node_rows(result_with_evidence())[2].reason == "its range collapses"


def test_arithmetic_on_shapes_is_neither_float_nor_integer() -> None:
    model = build(
        """f (float[1,4] x) => (float[1,4] y) {
            s = Shape(x)
            y = Reshape(x, s) }"""
    )
    plan = QuantPlan(float_nodes={"node_s": "no number", "node_y": "output tail"})
    result = sample_result(plan=plan, heavy=(), evidence=Evidence(model=model))

    assert [row.runs for row in node_rows(result)] == ["other", "float"]


def test_what_computes_in_half_precision_is_told_apart() -> None:
    result = result_with_evidence()
    plan = replace(result.plan, half=frozenset({"node_b"}))

    rows = node_rows(result_with_evidence(plan=plan))

    assert [row.runs for row in rows] == ["integer", "integer", "half", "float"]
