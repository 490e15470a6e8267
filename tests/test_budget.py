from __future__ import annotations

import pytest

from onnxq.budget import Budget
from onnxq.config import Config
from onnxq.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "wanted", "shown"),
    [
        ("size=0.16x", ("size", 0.16, True), "size=0.16x"),
        (" size = 2.5MB ", ("size", 2.5e6, False), "size=2.5MB"),
        ("size=300kB", ("size", 3e5, False), "size=300kB"),
        ("avg-weight-bits=5", ("avg-weight-bits", 5.0, False), "avg-weight-bits=5"),
        ("bops=0.05×", ("bops", 0.05, True), "bops=0.05x"),
        ("bops=12G", ("bops", 12e9, False), "bops=12G"),
        ("latency=0.8x", ("latency", 0.8, True), "latency=0.8x"),
    ],
)
def test_what_is_understood(text: str, wanted: tuple[str, float, bool], shown: str) -> None:
    found = Budget.parse(text)

    assert tuple(found) == pytest.approx(wanted)
    assert str(found) == shown
    assert Budget.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "size", "size=", "size=x", "size=0x", "size=-1MB", "size=1e999x", "size=3", "size=3ms",
        "avg-weight-bits=0.5x", "avg-weight-bits=5b", "latency=3", "latency=3ms", "speed=2x",
        "size<=2MB", "bops=1.2.3G",
    ],
)  # fmt: skip
def test_what_is_not(text: str) -> None:
    with pytest.raises(ConfigError, match="--budget"):
        Budget.parse(text)


def test_amounts_have_the_form_of_the_budget() -> None:
    assert Budget.parse("size=0.5x").amount(1e6, 4e6) == "0.25x"
    assert Budget.parse("size=2MB").amount(1.5e6, 4e6) == "1.5MB"
    assert Budget.parse("avg-weight-bits=5").amount(4.25, 1) == "4.25"


def test_the_options_read_budgets() -> None:
    config = Config(budget=["size=0.2x", "bops=1G"])  # type: ignore[arg-type]

    assert [one.resource for one in config.budget] == ["size", "bops"]
    assert config.to_dict()["budget"] == ["size=0.2x", "bops=1G"]
    assert Config(budget="size=0.2x").budget == config.budget[:1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": ["size=0.2x", "size=2MB"]}, "size is given twice"),
        ({"budget": "size=0.2x", "weights": 4}, "so does --weights"),
        ({"budget": "size=0.2x", "format": "integer"}, "knows what --format qdq takes"),
        ({"budget": "size=0.2x", "plan": "plan.json"}, "so does --plan"),
    ],
)
def test_options_that_contradict_a_budget(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.of(options)
