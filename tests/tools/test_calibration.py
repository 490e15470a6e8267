"""The study of methods measures in other processes, goes on where it was, and writes its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.study.trials import Store

ROOT = Path(__file__).parents[2]
COMMAND = [
    *(sys.executable, "-m", "tools.calibration", "--case", "digits_mobilenetv2", "--seeds", "1"),
    *("--samples", "4", "--limit", "20", "--setting", "w8a4", "--method", "mse", "--method", "pd"),
]


@pytest.mark.slow
def test_the_tables_are_made_by_several_processes(tmp_path: Path) -> None:
    store, table = tmp_path / "store.jsonl", tmp_path / "table.md"
    command = [*COMMAND, "--store", str(store), "--table", str(table), "--jobs", "2"]

    begun = subprocess.run([*command, "--minutes", "0"], cwd=ROOT, capture_output=True, text=True)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert begun.returncode == done.returncode == 0, begun.stderr + done.stderr
    assert "2 trials are missing still" in begun.stdout
    assert len(Store(store).rows) == 2
    assert "| w8a4 | pd |" in table.read_text()
    assert "| w8a4 | digits_mobilenetv2 |" in table.read_text()
