from __future__ import annotations

import csv
import io
import json

from rich.console import Console

from onnxq.report.front import FrontPoint, front_csv, front_rows, front_svg, front_table
from onnxq.report.html_report import html_report
from onnxq.report.json_report import json_report
from onnxq.report.text import text_report
from tests.report.samples import sample_result

POINTS = (
    FrontPoint(2.05, 146_605, 0.132, 0.713, 0.4518, 8.14, 0.9375),
    FrontPoint(4.26, 219_060, 0.1973, 0.713, 0.01133),
    FrontPoint(8.04, 343_823, 0.3097, 0.713, 0.00102, 28.0, 1.0),
)


def printed(what: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_csv_can_be_read_again() -> None:
    rows = list(csv.DictReader(io.StringIO(front_csv(POINTS))))

    assert [float(row["bits"]) for row in rows] == [2.05, 4.26, 8.04]
    assert rows[1]["sqnr"] == ""
    assert rows[2]["agreement"] == "1.0"


def test_the_table_leaves_out_what_nobody_measured() -> None:
    text = printed(front_table(POINTS))

    assert "agreement" in text
    assert "box F1" not in text
    assert "93.8 %" in text
    assert "219 kB" in text


def test_rows_have_a_cell_for_each_column() -> None:
    assert front_rows(POINTS)[0] == (
        "2.05", "147 kB", "0.132", "0.71×", "0.452", "8.1 dB", "93.8 %", "",
    )  # fmt: skip
    unknown = FrontPoint(4, 1000, 0.5, None, 0.1)
    assert front_rows([unknown])[0][3] == ""


def test_the_picture_has_a_dot_for_each_measured_point() -> None:
    assert front_svg(POINTS).count("<circle") == 2
    assert front_svg(POINTS[:2]) == ""


def test_every_report_shows_it() -> None:
    result = sample_result(front=POINTS)

    assert "expected loss" in printed(text_report(result))
    assert "<svg" in html_report(result)
    assert json.loads(json_report(result))["front"][0]["bits"] == 2.05


def test_no_report_shows_an_empty_one() -> None:
    assert "expected loss" not in printed(text_report(sample_result()))
    assert "<svg" not in html_report(sample_result())
