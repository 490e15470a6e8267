from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from onnxq.report.compare_json import compare_json
from tests.report.compare_samples import layer, sample_compared


def test_every_layer_is_there_with_its_ratios() -> None:
    found = json.loads(
        compare_json(sample_compared(layer("a", 40, 0.1), layer("b", 9.0, 0.9, before=31.0)))
    )

    assert found["guilty"] == "b"
    assert [row["node"] for row in found["layers"]] == ["a", "b"]
    assert (found["layers"][1]["own_db"], found["layers"][1]["before_db"]) == (9.0, 31.0)


def test_ratios_that_json_does_not_know_are_written_as_in_the_report() -> None:
    found = json.loads(compare_json(sample_compared(layer("a", math.inf), layer("b", math.nan))))

    assert found["layers"][0]["own_db"] == 999
    assert found["layers"][1]["own_db"] is None
    assert found["guilty"] is None


def test_drawings_are_listed_by_path() -> None:
    drawn = replace(sample_compared(), drawn=(Path("out/001-a.png"),))

    assert json.loads(compare_json(drawn))["drawings"] == [str(Path("out/001-a.png"))]
