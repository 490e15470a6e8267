"""The measuring half of the table, which has to run without onnxq."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.io import to_bytes
from onnxq.plan.target import load_target
from tests.e2e.networks import classifier, images
from tests.support import run
from tools import provider_table
from tools.provider_table import FORMS, PROVIDERS

if TYPE_CHECKING:
    import pytest


def test_every_form_is_one_that_its_target_runs() -> None:
    for target, form in FORMS.values():
        assert form in load_target(target).formats
    for _, forms in PROVIDERS.values():
        assert set(forms) <= set(FORMS)


def test_only_making_needs_onnxq() -> None:
    tree = ast.parse(Path(provider_table.__file__).read_text("utf-8"))
    users = set()
    for part in tree.body:
        imports = (n for n in ast.walk(part) if isinstance(n, ast.ImportFrom | ast.Import))
        if any("onnxq" in ast.unparse(found) for found in imports):
            users.add(part.name if isinstance(part, ast.FunctionDef) else "the module")
    assert users == {"make"}


def test_a_model_is_measured_and_told_as_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = classifier(batch="1")
    feed = {"x": images(1)}
    arrays = {"in:0:x": feed["x"], "out:0:y": run(model, feed)["y"]}
    np.savez(tmp_path / "net.npz", **arrays)  # type: ignore[arg-type]
    for form in ("float", "int8-cpu"):
        (tmp_path / f"net.{form}.onnx").write_bytes(to_bytes(model))
    monkeypatch.setattr(provider_table, "MODELS", {"net": ("", "")})
    monkeypatch.setattr(provider_table, "ROUNDS", 9)
    monkeypatch.setattr(provider_table, "ROUND_S", 1e-4)
    monkeypatch.setitem(
        provider_table.PROVIDERS, "cpu", ("CPUExecutionProvider", ("int8-cpu", "fp16"))
    )
    provider_table.measure(tmp_path, ["cpu"])
    assert "net on cpu: fp16 fails" in capsys.readouterr().out
    provider_table.table(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| model | provider | form | ms | speed-up | SQNR dB | agreement |")
    assert [line.split(" | ")[2] for line in lines[2:4]] == ["float", "int8-cpu"]
    assert all("100 %" in line for line in lines[2:4])
