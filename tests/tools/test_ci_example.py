"""The gate for GitHub Actions: its commands do what its comments say."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import onnxq
from tools.models.testset import MODELS

EXAMPLE = Path(__file__).parents[2] / "tools" / "examples" / "ci"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository as the example describes it."""
    shutil.copy(MODELS / "digits_yolo.onnx", tmp_path / "model.onnx")
    shutil.copytree(MODELS / "digits_yolo" / "calibration", tmp_path / "calibration")
    shutil.copy(EXAMPLE / "onnxq.toml", tmp_path)
    return tmp_path


def commands() -> list[list[str]]:
    lines = (EXAMPLE / "onnxq.yml").read_text("utf-8").splitlines()
    return [shlex.split(line) for line in lines if line.strip().startswith("onnxq ")]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    told = [sys.executable, "-m", *words]
    home = {"PYTHONPATH": str(Path(onnxq.__file__).parents[1])}
    return subprocess.run(
        told, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **home}
    )


@pytest.mark.slow
def test_the_commands_leave_what_is_uploaded(project: Path) -> None:
    for words in commands():
        done = run(words, project)
        assert done.returncode == 0, done.stderr

    listed = (EXAMPLE / "onnxq.yml").read_text("utf-8").partition("path: |\n")[2].split()
    assert len(listed) == 4
    for name in listed:
        assert (project / name).stat().st_size > 0
    report = json.loads((project / "report.json").read_text("utf-8"))
    assert report["option_origins"]["require"] == "onnxq.toml"
