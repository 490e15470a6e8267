"""How ranges are told: JSON, HTML and the terminal show the same."""

from __future__ import annotations

import json

import numpy as np

from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, QParams, QuantSpec
from onnxq.report.html_report import html_report
from onnxq.report.json_report import json_report
from onnxq.report.ranges import quant_ranges
from tests.report.samples import sample_result
from tests.report.test_text import shown

BYTE, CODE = IntType.parse("uint8"), IntType.parse("int8")


def planned(*, p: float | None = 2.0, gain: float | None = None) -> ValuePlan:
    params = QParams(np.array(0.5), np.array(10), "mse", p, 0.125, gain)
    return ValuePlan(QuantSpec(BYTE, symmetric=False), params)


def channels(gain: float | None = None) -> ValuePlan:
    params = QParams(np.array([1, 2], np.float32), np.zeros(2, np.int32), "lp", 3.0, None, gain)
    return ValuePlan(QuantSpec(CODE, symmetric=True, granularity=PerAxis(0)), params)


def test_a_range_is_what_has_codes() -> None:
    (found,) = quant_ranges(QuantPlan({"x": planned()}))

    assert (found.low, found.high) == (-5.0, 122.5)
    assert (found.method, found.p, found.error, found.gain) == ("mse", 2.0, 0.125, None)


def test_of_channels_the_widest_counts() -> None:
    (found,) = quant_ranges(QuantPlan({"w": channels(gain=0.1)}))

    assert (found.low, found.high) == (-256.0, 254.0)


def test_an_error_that_is_no_number_is_not_told() -> None:
    params = QParams(np.array(1.0), np.array(0), "lp", 4.0, np.inf)
    plan = QuantPlan({"x": ValuePlan(QuantSpec(BYTE, symmetric=False), params)})

    assert json.loads(json_report(sample_result(plan=plan)))["ranges"][0]["error"] is None


def test_weights_are_listed_where_the_outputs_chose_them() -> None:
    plan = QuantPlan({"x": planned(), "w": channels(), "v": channels(gain=0.1), "f": ValuePlan(
        QuantSpec(BYTE, symmetric=False)
    )})  # fmt: skip

    assert [one.value for one in quant_ranges(plan)] == ["x", "v"]


def test_json_has_all_numbers() -> None:
    report = json.loads(json_report(sample_result(plan=QuantPlan({"x": planned(gain=0.25)}))))

    assert report["ranges"] == [
        {
            "value": "x", "dtype": "uint8", "low": -5.0, "high": 122.5, "method": "mse", "p": 2.0,
            "error": 0.125, "gain": 0.25,
        }
    ]  # fmt: skip


def test_the_page_lists_all() -> None:
    page = html_report(sample_result(plan=QuantPlan({"<x>": planned(), "y": planned(p=None)})))

    assert "All chosen ranges (2)" in page
    assert "&lt;x&gt;" in page
    assert "-5 … 122.5" in page


def test_the_terminal_shows_the_greatest_gains() -> None:
    values = {f"v{number}": planned(gain=number / 100) for number in range(12)}
    text = shown(sample_result(plan=QuantPlan({**values, "other": planned()})))
    rows = [line for line in text.splitlines() if line.startswith("  v")]

    assert [row.split()[0] for row in rows][:3] == ["value", "v11", "v10"]
    assert "11.0 %" in rows[1]
    assert "… and 2 more" in text
    assert "other" not in text


def test_the_terminal_is_silent_where_nothing_was_chosen() -> None:
    assert "chosen by" not in shown(sample_result(plan=QuantPlan({"x": planned()})))
