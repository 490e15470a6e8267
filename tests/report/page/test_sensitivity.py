"""The chart of what bits cost."""

from __future__ import annotations

from onnxq.plan.quant_plan import QuantPlan
from onnxq.report.page.rows import node_rows
from onnxq.report.page.sensitivity import sensitivity
from onnxq.report.weight_bits import LayerWeight
from tests.report.page.evidence import result_with_evidence

WEIGHT = LayerWeight("node_a", "Conv", 12, 8, 8)


def test_every_width_of_every_layer_is_a_dot_and_what_costs_more_is_higher() -> None:
    result = result_with_evidence(weights=(WEIGHT,))

    chart = sensitivity(result.plan, node_rows(result))

    assert chart is not None
    assert [(cost.row, cost.bits, cost.chosen) for cost in chart.costs] == [
        (1, 4, False),
        (1, 8, True),
        (3, 4, False),
        (3, 8, False),
    ]
    few, many, dear, free = chart.costs
    assert dear.y < few.y < many.y
    # What costs nothing stands at the bottom, whose line is the least cost there is.
    assert free.y == many.y == chart.ticks[0][1]
    assert few.x == many.x < dear.x
    assert many.text == "node_a: 0.001 with 8 bits, which it has"
    assert chart.text == "2 layers; the dearest is node_b: 3 with 4 bits"
    assert (chart.widths, chart.ticks[-1][0]) == ([4, 8], "1e1")


def test_without_costs_there_is_no_chart() -> None:
    rows = node_rows(result_with_evidence())

    assert sensitivity(QuantPlan(), rows) is None
    assert sensitivity(QuantPlan(bit_costs={"node_a": {8: 0.0}, "node_b": {}}), rows) is None
