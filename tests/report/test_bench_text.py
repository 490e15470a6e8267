"""A benchmark on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from onnxq.report.bench_text import bench_text, verdict
from onnxq.runtime.benchmark import Ratio
from onnxq.runtime.kernel_times import OperatorTime
from tests.report.bench_samples import sample_bench

if TYPE_CHECKING:
    from onnxq.report.bench_result import Bench

FASTER = Ratio(1.43, 1.39, 1.46)


def shown(bench: Bench) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120).print(bench_text(bench))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (FASTER, "1.43× faster (1.39–1.46)"),
        (Ratio(0.5, 0.4, 0.8), "2.00× slower (1.25–2.50)"),
        (Ratio(1.002, 1.001, 1.004), "1.002× faster (1.001–1.004)"),
        (Ratio(12.34, 11.0, 14.0), "12.3× faster (11.0–14.0)"),
        (Ratio(1.2, 0.9, 1.5), "no difference that this noise lets one see (0.90–1.50)"),
        (Ratio(1.1, 1.0, 1.5), "no difference that this noise lets one see (1.000–1.50)"),
    ],
)
def test_the_verdict_says_what_the_interval_allows(ratio: Ratio, words: str) -> None:
    assert verdict(ratio) == words


@given(st.lists(st.floats(0.05, 20), min_size=3, max_size=3).map(sorted))
def test_a_verdict_names_a_direction_only_where_the_interval_leaves_out_one(
    ends: list[float],
) -> None:
    low, value, high = ends
    words = verdict(Ratio(value, low, high))
    assert ("faster" in words) == (low > 1)
    assert ("slower" in words) == (high < 1)


def test_it_shows_every_model_and_how_they_compare() -> None:
    text = shown(sample_bench(FASTER))

    for part in (
        "net.onnx",
        "5.31 ms",
        "5.2–5.4",
        "20.0 MB",
        "2.71 MB",
        "net.int8.onnx is 1.43× faster (1.39–1.46) than net.onnx",
        "45 rounds in turns with fresh sessions, processor time, 1 thread, CPUExecutionProvider",
        "onnxruntime 1.2.3",
        "fed with random inputs, seed 0: x float32[1,3]",
    ):
        assert part in text


def test_what_a_ratio_is_and_why_it_is_not_that_of_the_latencies_is_told() -> None:
    text = " ".join(shown(sample_bench(FASTER)).split())

    assert "speed: median of the ratios within each round" in text
    assert "although" not in text


@pytest.mark.parametrize(
    ("ratio", "ms", "words"),
    [(FASTER, 5.4, "median over all rounds is longer"), (Ratio(0.5, 0.4, 0.8), 5.2, "is shorter")],
)
def test_medians_that_point_the_other_way_are_pointed_out(
    ratio: Ratio, ms: float, words: str
) -> None:
    text = " ".join(shown(sample_bench(ratio, ms=ms)).split())

    assert "in the same rounds, although its median" in text
    assert words in text


def test_one_model_alone_has_no_ratio_to_explain() -> None:
    bench = sample_bench(FASTER)

    assert "speed: " not in shown(replace(bench, models=bench.models[:1]))


def test_inputs_that_differ_are_told_by_model() -> None:
    text = shown(sample_bench(FASTER, inputs={"y": "float32[1,9]"}))

    assert "seed 0: net.onnx: x float32[1,3]; net.int8.onnx: y float32[1,9]" in text


def test_noise_is_not_called_a_difference() -> None:
    text = shown(sample_bench(Ratio(1.05, 0.98, 1.1)))

    assert "net.int8.onnx and net.onnx: no difference that this noise lets one see" in text
    assert "faster" not in text


def test_memory_that_is_not_known_has_its_reason() -> None:
    text = shown(sample_bench(FASTER, memory=None, no_memory="this platform does not tell"))

    assert "memory is not known: this platform does not tell" in text


def test_operators_are_listed_with_names_as_they_are() -> None:
    rows = [line.split() for line in shown(sample_bench(FASTER)).splitlines()]

    assert ["Conv", "5", "4", "ms", "80.0", "%"] in rows
    assert ["[b]Relu", "3", "1", "ms", "20.0", "%"] in rows


def test_a_long_profile_is_summed_up() -> None:
    rows = tuple(OperatorTime(f"Op{i}", 1, 1.0, 0.05) for i in range(20))

    text = shown(sample_bench(FASTER, operators=rows))

    assert "Op14" in text
    assert "Op15" not in text
    assert ["…", "5", "more", "5", "5", "ms", "25.0", "%"] in [
        line.split() for line in text.splitlines()
    ]
