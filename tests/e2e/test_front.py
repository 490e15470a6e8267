"""The front of bits and sizes, and the smallest model on it that does what is required."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

import onnxq
from onnxq.errors import ConfigError, RequirementError
from tests.e2e.networks import classifier, images

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.report.result import Result

FEEDS = {"x": images(16)}


def optimized(**options: Any) -> Result:  # noqa: ANN401
    given = {"rounding": "nearest", "threads": 1, **options}
    return onnxq.optimize(classifier(), FEEDS, **given)


def test_the_front_is_written_and_falls(tmp_path: Path) -> None:
    file = tmp_path / "front.csv"
    made = optimized(pareto=file)
    rows = list(csv.DictReader(file.read_text().splitlines()))

    assert len(rows) == len(made.front) >= 4
    sizes, losses = ([float(row[key]) for row in rows] for key in ("size", "loss"))
    assert sizes == sorted(sizes)
    assert losses == sorted(losses, reverse=True)
    measured = [point for point in made.front if point.sqnr is not None]
    assert 2 <= len(measured) <= 5
    assert measured[0] is made.front[0]
    assert measured[-1] is made.front[-1]
    assert {weight.bits for weight in made.weights} == {8, 32}, "no budget: what is written stays"


def test_the_smallest_model_that_does_is_found() -> None:
    plain = optimized()
    assert plain.fidelity.worst is not None
    bound = plain.fidelity.worst[1] - 13
    made = optimized(minimize="size", require=f"sqnr>={bound}")

    assert made.size_after < plain.size_after
    assert made.fidelity.worst is not None
    assert made.fidelity.worst[1] >= bound
    assert any(weight.bits == 4 for weight in made.weights)


@pytest.mark.slow
def test_layers_compute_in_float_where_codes_cannot_be_close_enough() -> None:
    """Their weights stay small; of that size, as few layers as will do are in float."""
    plain = optimized()
    assert plain.fidelity.worst is not None
    bound = plain.fidelity.worst[1] + 4
    made = optimized(minimize="size", require=f"sqnr>={bound}")

    assert made.size_after < 0.5 * made.size_before
    assert made.fidelity.worst is not None
    assert made.fidelity.worst[1] >= bound
    assert made.integer_share < plain.integer_share
    reasons = made.plan.float_nodes.values()
    assert any("costs less at the outputs in float" in reason for reason in reasons)


def test_the_fastest_model_that_does_is_found() -> None:
    """The network's outputs are close enough with all layers on integers."""
    made = optimized(minimize="latency", require="sqnr>=10")

    assert made.integer_share == optimized().integer_share


def test_a_bound_that_nothing_reaches_says_the_best() -> None:
    with pytest.raises(RequirementError, match=r"sqnr>=90 \(the best seen is \d\d") as error:
        optimized(minimize="size", require="sqnr>=90", budget="size=0.4x")
    assert "nothing was written" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minimize": "size"}, "give --require with sqnr or agreement or f1"),
        ({"minimize": "size", "require": "speedup>=1"}, "give --require with"),
        ({"minimize": "time", "require": "sqnr>=9"}, "choose size or latency"),
        ({"minimize": "size", "require": "sqnr>=9", "weights": 4}, "so does --weights"),
        ({"pareto": "f.csv", "plan": "p.json"}, "--pareto chooses the bits, and so does --plan"),
        ({"pareto": "f.csv", "json": "f.csv"}, "both write"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        optimized(**options)
