"""Histograms and ranges as the page gets them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxq.numerics.statistics import Stats, ValueStats
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import PerAxis, QParams
from onnxq.report.evidence import WeightRanges
from onnxq.report.page.values import evenness, histograms, weight_ranges
from tests.report.page.evidence import planned


def test_a_histogram_tells_range_and_share_beyond() -> None:
    x = np.concatenate([np.linspace(-1, 1, 9000), np.full(1000, 4.0), np.zeros(10)])
    stats = Stats({"x": ValueStats.of(x)}, 1)

    (found,) = histograms(stats, QuantPlan(values={"x": planned(0.01, 128)}))

    assert found["range"] == pytest.approx([-1.28, 1.27])
    assert found["outside"] == pytest.approx(1000 / 10010, rel=1e-3)
    assert found["zeros"] == 10
    assert sum(found["counts"]) == 10000
    assert len(found["counts"]) <= 128
    assert found["start"] + found["width"] * len(found["counts"]) >= 4
    assert (found["type"], found["scales"], found["method"]) == ("uint8", 1, "mse, p = 2")


def test_a_float_value_has_no_range() -> None:
    (found,) = histograms(Stats({"x": ValueStats.of(np.ones(4))}, 1), QuantPlan())

    assert "range" not in found


def test_channels_show_the_widest_range() -> None:
    wide = planned(1.0)
    spec = replace(wide.spec, granularity=PerAxis(1))
    params = QParams(np.array([0.1, 0.4], np.float32), np.array([0, 128], np.int32))
    plan = QuantPlan(values={"x": replace(wide, spec=spec, params=params)})

    (found,) = histograms(Stats({"x": ValueStats.of(np.ones(4))}, 1), plan)

    assert found["range"] == pytest.approx([-51.2, 50.8])
    assert found["scales"] == 2


def test_channels_are_sorted_by_what_they_were() -> None:
    weight = WeightRanges(
        "c", np.array([1, 4, 2], np.float32), np.array([5, 6, 7], np.float32), per_channel=False
    )

    (found,) = weight_ranges([weight])

    assert found["before"] == [4, 2, 1]
    assert found["after"] == [6, 7, 5]
    assert found["even"] == pytest.approx([7 / 12, 6 / 7], rel=1e-3)


def test_many_channels_are_thinned_and_keep_both_ends() -> None:
    ranges = np.arange(1, 1001, dtype=np.float32)

    (found,) = weight_ranges([WeightRanges("c", ranges, ranges, per_channel=False)])

    assert len(found["before"]) == 256
    assert (found["before"][0], found["before"][-1], found["channels"]) == (1000, 1, 1000)


def test_evenness_of_nothing_is_full() -> None:
    assert evenness(np.zeros(3, np.float32)) == 1
