from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

import onnxq
from onnxq.report.versions import versions

if TYPE_CHECKING:
    import pytest


def test_names_what_a_result_depends_on() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["onnxq"] == onnxq.__version__
    assert {"onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy"} <= set(found)
    assert found["numpy"] == metadata.version("numpy")


def test_leaves_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "numpy":
            raise metadata.PackageNotFoundError(name)
        return "9.9"

    monkeypatch.setattr(metadata, "version", version)
    assert versions() == {"python": platform.python_version(), "numpy": "9.9"}
