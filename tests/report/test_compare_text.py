from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from onnxq.report.compare_text import compare_text, verdict
from tests.report.compare_samples import layer, sample_compared


def text(*layers: object, sqnr: float = 12.0) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(compare_text(sample_compared(*layers, sqnr=sqnr)))  # type: ignore[arg-type]
    return capture.get()


def test_the_guilty_layer_is_named_with_its_numbers() -> None:
    guilty = layer("b", 9.2, 0.9, before=31.0)

    said = verdict(sample_compared(layer("a", 40, 0.01), guilty))

    assert said == (
        "node b adds most of the error: its own output keeps 9.2 dB, its input 31.0 dB; "
        "by itself it makes 90.0 % of the error at the outputs"
    )


def test_a_layer_that_makes_less_than_half_is_not_called_guilty() -> None:
    said = verdict(sample_compared(layer("a", 40, 0.2), layer("b", 30, 0.3)))

    assert said.startswith("no layer stands out; node b adds the most")
    assert "its input is exact" in said


def test_nothing_differs() -> None:
    said = verdict(sample_compared(layer("a", math.inf), sqnr=math.inf))

    assert said == "no layer is to blame: nothing differs"


def test_without_shares_nobody_is_blamed() -> None:
    assert "cannot be compared" in verdict(sample_compared(layer("a", 10)))
    assert "no value in common" in verdict(sample_compared())


def test_the_guilty_row_is_marked() -> None:
    shown = text(layer("a", 40, 0.01), layer("b", 9, 0.9))

    assert "► b" in shown
    assert "► a" not in shown


def test_the_worst_twenty_are_shown_in_graph_order() -> None:
    shown = text(*(layer(f"n{i:02}", 60 - i) for i in range(30)))

    assert "the worst 20 of 30 layers" in shown
    assert "n09" not in shown
    assert shown.index("n10") < shown.index("n29")


def test_a_ratio_that_is_no_number_is_the_worst() -> None:
    shown = text(layer("odd", math.nan), *(layer(f"n{i:02}", 60) for i in range(30)))

    assert "odd" in shown


def test_drawings_are_told_with_their_folder() -> None:
    files = (Path("out/001-a.png"), Path("out/002-b.png"))
    console = Console(width=200)
    with console.capture() as capture:
        console.print(compare_text(replace(sample_compared(), drawn=files)))

    assert ["drawn", "2", "pictures", "in", "out"] in [
        line.split() for line in capture.get().splitlines()
    ]
