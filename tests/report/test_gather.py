"""What a run with ``--report`` collects, and that a run without does not."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.errors import ModelError
from onnxq.graph.io import to_bytes
from onnxq.report import gather
from tests.e2e.networks import classifier, images

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.report.result import Result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("report")
    model = folder / "net.onnx"
    model.write_bytes(to_bytes(classifier()))
    data = {"x": images(8)}
    report = folder / "net.html"
    return report, onnxq.optimize(model, data, threads=1, report=report)


def test_a_run_without_a_report_collects_nothing() -> None:
    assert onnxq.optimize(classifier(), {"x": images(8)}, threads=1).evidence is None


def test_everything_is_measured(made: tuple[Path, Result]) -> None:
    report, result = made
    evidence = result.evidence

    assert evidence is not None
    assert report.stat().st_size > 50_000
    assert evidence.stats is not None
    assert set(result.plan.values) >= set(evidence.stats.values)
    assert {layer.value for layer in evidence.layers} >= {"y"}
    assert all(layer.whole > 10 or math.isnan(layer.whole) for layer in evidence.layers)
    assert all(layer.own >= layer.whole - 6 for layer in evidence.layers)
    assert evidence.weights
    assert all(time.microseconds >= 0 for time in evidence.float_times + evidence.integer_times)
    assert any("QLinear" in time.op or "QGemm" in time.op for time in evidence.integer_times)


def test_the_file_that_was_given_is_named_by_its_hash(made: tuple[Path, Result]) -> None:
    report, result = made

    assert result.evidence is not None
    given = report.with_name("net.onnx").read_bytes()
    assert result.evidence.digest == hashlib.sha256(given).hexdigest()


def test_without_data_there_is_a_report_all_the_same(tmp_path: Path) -> None:
    report = tmp_path / "net.html"
    result = onnxq.optimize(classifier(), threads=1, report=report)

    assert result.evidence is not None
    assert (result.evidence.layers, result.evidence.float_times) == ((), ())
    assert "<h2>Graph</h2>" in report.read_text("utf-8")


def test_what_cannot_be_compared_leaves_the_chart_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ModelError("no kernel")

    monkeypatch.setattr(gather, "match_layers", refuse)

    result = onnxq.optimize(classifier(), {"x": images(8)}, threads=1, report=tmp_path / "r.html")

    assert result.evidence is not None
    assert result.evidence.layers == ()
    assert "no errors along the depth: no kernel" in caplog.text


@pytest.mark.parametrize("form", ["integer", "qoperator"])
def test_layers_whose_values_are_codes_are_compared_as_qdq(form: str, tmp_path: Path) -> None:
    data, report = {"x": images(8)}, tmp_path / "r.html"

    made = onnxq.optimize(classifier(), data, threads=1, report=report, format=form)

    assert made.evidence is not None
    assert made.evidence.layers_as_qdq
    assert len(made.evidence.layers) > 2
    assert "It was measured on the QDQ form" in report.read_text("utf-8")
