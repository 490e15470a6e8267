"""The C program that runs what ``onnxq firmware`` writes, built for tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["NEEDS_GCC", "built"]

_SOURCE = Path(__file__).resolve().parents[2] / "tools" / "examples" / "firmware" / "run.c"
_FLAGS = ("-std=c11", "-O2")

NEEDS_GCC = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")


def built(folder: Path) -> Path:
    """Compiles the program into a folder, and returns it."""
    program = folder / "run"
    subprocess.run(["gcc", *_FLAGS, "-o", str(program), str(_SOURCE), "-lm"], check=True)
    return program
