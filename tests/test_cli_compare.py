"""The command: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq import cli, comparing
from onnxq.comparing import CompareOptions
from onnxq.graph.io import save
from tests.report.compare_samples import sample_compared
from tests.support import model

if TYPE_CHECKING:
    from onnxq.report.compare_result import CompareResult


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = """f (float[1, 3] x) => (float[1, 3] y) {
        c = Constant <value = float {2}> ()
        y = Mul (x, c)
    }"""
    save(model(text), tmp_path / "a.onnx")
    save(model(text.replace("2", "3")), tmp_path / "b.onnx")
    np.savez(tmp_path / "d.npz", x=np.ones((8, 3), np.float32))
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    files = [str(folder / name) for name in ("a.onnx", "b.onnx", "d.npz")]
    return ["compare", files[0], files[1], "--data", files[2], *more]


def test_a_table_is_printed_and_json_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words(folder, "--json", str(folder / "r.json"))) == 0

    assert "adds most of the error" in capsys.readouterr().out.replace("\n", " ")
    assert json.loads((folder / "r.json").read_text("utf-8"))["layers"][0]["value"] == "y"


def test_json_on_standard_output_stands_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(words(folder, "--json", "-")) == 0

    assert json.loads(capsys.readouterr().out)["layers"][0]["value"] == "y"
    assert not (folder / "-").exists()


def test_every_option_is_handed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[CompareOptions] = []

    def record(*given: object) -> CompareResult:
        assert isinstance(given[3], CompareOptions)
        calls.append(given[3])
        return sample_compared()

    monkeypatch.setattr(comparing, "compare", record)
    more = "--preprocess yolo --samples 9 --task detection --boxes a,b --scores c --draw d --seed 3"

    assert cli.main(words(folder, *more.split(), "--threads", "2")) == 0
    assert cli.main(words(folder)) == 0

    assert calls == [
        CompareOptions(
            preprocess="yolo",
            samples=9,
            task="detection",
            boxes=("a", "b"),
            scores=("c",),
            draw=Path("d"),
            seed=3,
            threads=2,
        ),
        CompareOptions(),
    ]


def test_drawing_what_is_no_detector_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words(folder, "--draw", str(folder / "out"))) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: --draw needs a detector")
    assert error.count("\n") == 1
    assert not (folder / "out").exists()


def test_a_missing_model_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.onnx").unlink()

    assert cli.main(words(folder)) == 2

    assert capsys.readouterr().err.count("\n") == 1


def test_data_is_required(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words(folder)[:3]) == 2

    assert "--data" in capsys.readouterr().err


def test_the_report_may_not_be_written_over_a_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "a.onnx").read_bytes()

    assert cli.main(words(folder, "--json", str(folder / "a.onnx"))) == 2

    assert (folder / "a.onnx").read_bytes() == before
    assert capsys.readouterr().err.startswith("error: ")


def test_bars_on_a_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(words(folder)) == 0
    assert "outputs" in capsys.readouterr().err
