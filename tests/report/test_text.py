"""The report on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from onnxq.report.result import FloatNode, Latency, Result
from onnxq.report.text import text_report
from tests.report.samples import sample_result


def shown(result: Result, *, color: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=120,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    console.print(text_report(result))
    return stream.getvalue()


def test_it_shows_the_facts_what_stayed_float_and_the_file() -> None:
    text = shown(sample_result())

    for part in (
        "2.71 MB → 840 kB",
        "5.31 ms → 3.02 ms",
        "31.2 dB",
        "97.3 %",
        "fewer than 100 held-out samples",
        "stem",
        "12.3 M MACs",
        "its range collapses",
        "written to net.int8.onnx",
    ):
        assert part in text


def test_warnings_are_shown() -> None:
    assert "warning: the data holds 64 samples" in shown(sample_result())


def test_slower_than_float_is_red() -> None:
    text = shown(sample_result(latency=Latency(1.0, 1.2, 0.83, 0.80, 0.86)), color=True)

    assert "\x1b[1;31mslower than float" in text


def test_a_label_is_not_repeated() -> None:
    labels = [line.split(" ")[0] for line in shown(sample_result()).splitlines()]

    assert labels.count("fidelity") == 1


def test_markup_in_names_is_text() -> None:
    node = FloatNode("[bold]x[/bold]", "Conv", 5, "[red]why[/red]")

    text = shown(sample_result(stayed_float=(node,)))

    assert "[bold]x[/bold]" in text
    assert "[red]why[/red]" in text


def test_a_long_list_is_cut_and_says_so() -> None:
    nodes = tuple(FloatNode(f"conv{i}", "Conv", 5, "why") for i in range(40))

    text = shown(sample_result(stayed_float=nodes))

    assert "conv14" in text
    assert "conv15" not in text
    assert "and 25 more" in text


def test_nothing_written_is_said() -> None:
    assert "nothing was written" in shown(sample_result(path=None))
