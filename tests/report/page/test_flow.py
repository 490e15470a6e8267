"""The drawing of the graph."""

from __future__ import annotations

from dataclasses import replace

from onnxq.plan.quant_plan import QuantPlan
from onnxq.report.evidence import Evidence
from onnxq.report.page.flow import Flow, Mark, flow
from onnxq.report.page.rows import node_rows
from tests.passes.rewrite.building import build
from tests.report.page.evidence import planned, result_with_evidence
from tests.report.samples import sample_result


def drawn(name: str | None = None) -> Flow:
    result = result_with_evidence()
    assert result.evidence is not None
    rows = node_rows(result)
    if name is not None:
        rows[0] = replace(rows[0], node=name)
    return flow(result.evidence.model, rows, frozenset(result.plan.values))


def test_inputs_nodes_and_outputs_are_boxes() -> None:
    boxes = drawn().boxes

    assert [box.title for box in boxes] == ["input", "Conv", "Relu", "Conv", "Add", "output"]
    assert [box.row for box in boxes] == [0, 1, 2, 3, 4, 0]
    assert boxes[4].above == (3, 2)


def test_weights_are_no_boxes_and_every_use_is_a_line() -> None:
    lines = drawn().lines

    assert len(lines) == 6
    # x and r are quantized, a stays inside the kernel, b and y are float.
    assert sorted(line.runs for line in lines) == ["float", "float", *["integer"] * 4]


def test_the_strip_shows_regions() -> None:
    found = drawn()

    assert found.marks == [
        Mark(0, 0, 1, 1, "end"),
        Mark(0, 1, 1, 2, "integer"),
        Mark(0, 3, 1, 2, "float"),
        Mark(0, 5, 1, 1, "end"),
    ]
    assert found.levels == 6


def test_a_long_name_keeps_its_end() -> None:
    box = drawn("block/" * 20 + "conv_last").boxes[1]

    assert box.subtitle.startswith("…")
    assert box.subtitle.endswith("conv_last")
    assert box.width <= 190


def test_layers_that_hold_both_are_split_on_the_strip() -> None:
    model = build(
        """f (float[1,4] x) => (float[1,4] a, float[1,4] b) {
            a = Relu(x)
            b = Neg(x) }"""
    )
    plan = QuantPlan(values={"a": planned(0.1)}, float_nodes={"node_b": "why"})
    result = sample_result(plan=plan, heavy=(), evidence=Evidence(model=model))

    found = flow(model, node_rows(result), frozenset(plan.values))

    assert found.marks[1:3] == [Mark(0, 1, 0.5, 1, "integer"), Mark(0.5, 1, 0.5, 1, "float")]
