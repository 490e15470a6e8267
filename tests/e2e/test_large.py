"""A model of 2.5 GB: memory, and that what is written works.

Counted is memory that the process has for itself, not files that it has mapped. Beside what is
allowed for onnxq itself, which is one and a half of the largest weight, onnxruntime takes what it
takes: it copies weights into the form in which its kernels are fast.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.exports import sqnr
from tests.e2e.large_model import LARGEST, sessions, watched, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.large_model import Watched

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_model(tmp_path_factory.mktemp("large"))
    assert (path.parent / "big.data").stat().st_size > 2.5e9
    return path


def _optimize(model: Path, out: Path, *options: str) -> Watched:
    words = ["-m", "onnxq", "optimize", str(model), "-o", str(out), "--quiet", "--threads", "1"]
    found = watched([*words, *options], out.with_suffix(".log"))
    assert found.code == 0, found.log
    return found


def test_without_data(model: Path, tmp_path: Path) -> None:
    """onnxruntime loads the written model to try whether it can; the float one stays mapped."""
    out = tmp_path / "out.onnx"
    command = _optimize(model, out)
    assert out.stat().st_size < 0.26 * (model.parent / "big.data").stat().st_size
    loaded, _ = sessions([out], model.parent)
    assert command.peak < loaded.peak + 1.5 * LARGEST
    _, (wanted, got) = sessions([model, out], model.parent)
    assert sqnr(wanted, got) > 15


def test_with_data(model: Path, tmp_path: Path) -> None:
    """The float and the written model are run side by side, which is what onnxruntime takes.

    A third of the weights becomes integers, for the sake of the test's time.
    """
    out = tmp_path / "out.onnx"
    floats = [f"product{layer}" for layer in range(19) if layer % 3]
    options = [word for name in floats for word in ("--keep-float", name)]
    command = _optimize(model, out, "--data", str(model.parent / "data.npz"), *options)
    beside, (wanted, got) = sessions([model, out], model.parent)
    assert command.peak < beside.peak + 1.5 * LARGEST
    assert sqnr(wanted, got) > 15
