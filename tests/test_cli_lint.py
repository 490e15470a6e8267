"""The lint command: what it prints, writes, and exits with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.cli import main
from onnxq.graph.io import to_bytes
from tests.conformance.planted_faults import CLEAN, FAULTS, made

if TYPE_CHECKING:
    from pathlib import Path

FOUND = 4


@pytest.fixture
def clean(tmp_path: Path) -> str:
    path = tmp_path / "clean.onnx"
    path.write_bytes(to_bytes(made(CLEAN["cpu"])))
    return str(path)


@pytest.fixture
def faulty(tmp_path: Path) -> str:
    path = tmp_path / "faulty.onnx"
    path.write_bytes(to_bytes(made(FAULTS["output that floats read too"])))
    return str(path)


def test_a_clean_model_exits_with_0(clean: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", clean]) == 0
    assert "clean.onnx on cpu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("level", "code"), [("error", 0), ("warning", FOUND), ("note", FOUND), ("never", 0)]
)
def test_what_is_found_exits_with_4_from_a_level_on(faulty: str, level: str, code: int) -> None:
    assert main(["lint", faulty, "--fail-on", level]) == code


def test_the_same_file_may_be_wrong_elsewhere(clean: str) -> None:
    assert main(["lint", clean, "--target", "tensorrt"]) == FOUND


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_json_and_sarif_stand_alone_on_standard_output(
    faulty: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", faulty, "--format", form]) == FOUND
    found = json.loads(capsys.readouterr().out)
    if form == "json":
        assert found["findings"][0]["rule"] == "several-readers"
    else:
        result = found["runs"][0]["results"][0]
        assert result["ruleId"] == "several-readers"
        location = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert location["uri"] == faulty.replace("\\", "/")


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_it_writes_a_file_and_prints_nothing(
    faulty: str, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["lint", faulty, "--format", form, "-o", str(out)]) == FOUND
    assert capsys.readouterr().out == ""
    assert "several-readers" in out.read_text("utf-8")
    assert "\x1b" not in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "xml"], "--format 'xml' is unknown; choose text or json or sarif"),
        (["--fail-on", "bad"], "--fail-on 'bad' is unknown; choose error or"),
        (["--target", "gpu"], "no target 'gpu'; there are:"),
    ],
)
def test_a_wrong_option_is_one_line(
    clean: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", clean, *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_in_python(faulty: str) -> None:
    linted = onnxq.lint(faulty)
    assert isinstance(linted, onnxq.Linted)
    assert [f.rule for f in linted.findings] == ["several-readers"]
    assert linted.counts == "0 errors, 1 warning, 0 notes"
