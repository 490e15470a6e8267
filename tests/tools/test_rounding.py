"""The study of rounding measures, and writes its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [
    *(sys.executable, "-m", "tools.rounding", "--case", "digits_mobilenetv2", "--seeds", "1"),
    *("--samples", "8", "--limit", "20", "--setting", "w4a8", "--method", "nearest"),
]


@pytest.mark.slow
def test_the_tables_hold_fidelity_and_drop(tmp_path: Path) -> None:
    store, table = tmp_path / "store.jsonl", tmp_path / "table.md"

    done = subprocess.run(
        [*COMMAND, "--store", str(store), "--table", str(table)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert table.read_text().count("| w4a8 | digits_mobilenetv2 |") == 2
