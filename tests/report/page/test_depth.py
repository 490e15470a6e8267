"""The chart of errors along the depth."""

from __future__ import annotations

import math
from dataclasses import replace

from onnxq.report.page.depth import depth
from onnxq.report.page.rows import node_rows
from tests.report.page.evidence import result_with_evidence

ROWS = node_rows(result_with_evidence())


def test_what_differs_is_drawn_from_left_to_right_and_less_is_lower() -> None:
    chart = depth(ROWS)

    assert chart is not None
    first, second = chart.points
    assert (first.row, second.row) == (1, 3)
    assert first.x < second.x
    assert first.whole < second.whole
    assert chart.text == (
        "SQNR of 2 values from 41.5 dB near the input to 33.2 dB at the end; node_a adds most"
        " (41.5 dB)"
    )
    assert [tick.decibels for tick in chart.ticks] == [30, 40, 50, 60]


def test_an_exact_layer_adds_no_dot() -> None:
    rows = [replace(row, own=math.inf) for row in ROWS]

    chart = depth(rows)

    assert chart is not None
    assert [point.own for point in chart.points] == [None, None]
    assert chart.text.endswith("at the end")


def test_there_is_no_chart_where_nothing_differs() -> None:
    assert depth([replace(row, whole=math.inf) for row in ROWS]) is None
    assert depth([]) is None
