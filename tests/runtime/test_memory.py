import subprocess
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.runtime.memory import SessionMemory, session_memory

MEGABYTE = 1_000_000
MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N] x) => (float[N] y) { z = Exp (x)  y = Sin (z) }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    ir.save(ir.from_onnx_text(MODEL), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_a_session_takes_at_least_what_its_values_take(path: Path) -> None:
    found = session_memory(path, {"x": np.zeros(4 * MEGABYTE, np.float32)})

    assert isinstance(found, SessionMemory)
    assert found.session > 16 * MEGABYTE
    assert found.before < found.peak


def test_models_do_not_add_up(path: Path) -> None:
    small = {"x": np.zeros(1, np.float32)}
    ballast = np.ones(100 * MEGABYTE, np.float32)

    found = session_memory(path, small)

    assert ballast.sum() > 0
    assert isinstance(found, SessionMemory)
    assert found.peak < ballast.nbytes


def test_a_failure_in_the_process_is_told(path: Path) -> None:
    found = session_memory(path, {"z": np.zeros(1, np.float32)})

    assert isinstance(found, str)
    assert found.startswith("the measuring process failed: ")
    assert "onnxruntime cannot run the model" in found


def test_a_platform_that_does_not_tell_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    class Done:
        returncode = 0
        stdout = "null\n"

    monkeypatch.setattr(subprocess, "run", lambda *_, **__: Done())

    assert session_memory(path, {}) == "this platform does not tell"


def test_a_session_never_takes_less_than_nothing() -> None:
    assert SessionMemory(peak=1, before=2).session == 0
