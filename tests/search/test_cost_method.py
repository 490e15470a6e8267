from __future__ import annotations

import pytest

from onnxq.search.cost_method import cost_method, run_seconds
from tests.passes.plan.planning import build
from tests.passes.rewrite.building import rng_weight


@pytest.mark.parametrize(
    ("changes", "samples", "seconds", "found"),
    [
        (100, 300, 0.001, ("measured", 256)),
        (100, 48, 0.01, ("measured", 48)),
        (100, 64, 0.05, ("measured", 18)),
        (100, 64, 0.2, ("quadratic", 256)),
        (100, 4, 0.2, ("measured", 4)),
        (100, 64, 0.0, ("measured", 64)),
        (0, 64, 1.0, ("measured", 64)),
    ],
)
def test_as_many_samples_as_are_affordable(
    changes: int, samples: int, seconds: float, found: tuple[str, int]
) -> None:
    assert cost_method("auto", changes, samples, seconds)[:2] == found


def test_who_asks_for_a_method_gets_it() -> None:
    assert cost_method("measured", 1000, 64, 10.0) == ("measured", 256, "")
    assert cost_method("sqnr", 1, 1, 0.0) == ("sqnr", 256, "")


def test_costs_are_told_in_words() -> None:
    text = cost_method("auto", 100, 64, 0.2).text(48)

    assert text.startswith("the task's loss with one layer alone rounded, by its curvature")
    assert "on 48 samples; to measure 100 models would take 160 s or more" in text


def test_the_time_of_a_run_does_not_depend_on_the_machine() -> None:
    model = build(
        "f (float[1,64,56,56] x, float[64,64,3,3] w) => (float[1,64,54,54] y) { y = Conv(x, w) }",
        w=rng_weight(64, 64, 3, 3),
    )
    shapes = {"x": (1, 64, 56, 56), "y": (1, 64, 54, 54)}

    found = run_seconds(model, shapes)

    assert found == run_seconds(model, shapes)
    assert 1e-4 < found < 1e-1
