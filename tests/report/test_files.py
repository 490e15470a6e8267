"""Reports are written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxq.config import Config
from onnxq.errors import OutputError
from onnxq.report.files import check_reports, write_reports
from tests.report.samples import sample_result


def test_what_is_asked_for_is_written(tmp_path: Path) -> None:
    write_reports(sample_result(), Config(json=tmp_path / "r.json", report=tmp_path / "r.html"))

    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["schema"] == 1
    assert (tmp_path / "r.html").read_text("utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json"]


def test_nothing_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    write_reports(sample_result(), Config())

    assert list(tmp_path.iterdir()) == []


def test_checking_leaves_no_trace(tmp_path: Path) -> None:
    check_reports(Config(json=tmp_path / "r.json", report=tmp_path / "r.html"))

    assert list(tmp_path.iterdir()) == []


def test_checking_finds_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        check_reports(Config(report=tmp_path / "missing" / "r.html"))


def test_an_old_report_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("old")

    write_reports(sample_result(), Config(json=tmp_path / "r.json"))

    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["schema"] == 1


@pytest.mark.parametrize("name", ["folder", "missing/r.json"])
def test_a_place_that_takes_no_file_is_an_output_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(OutputError, match="name another") as caught:
        write_reports(sample_result(), Config(json=tmp_path / name))

    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_name_that_is_no_unicode_does_not_stop_the_report(tmp_path: Path) -> None:
    path = tmp_path / "r.html"

    write_reports(sample_result(path=Path("bad\udcff.onnx")), Config(report=path))

    assert "bad\\udcff.onnx" in path.read_text("utf-8")
