"""``onnxq verify``: what it says of a proven model, and how it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq import cli
from onnxq.errors import ConfigError
from onnxq.graph.io import to_bytes
from onnxq.verifying import verify
from tests.support import model

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = "f (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {3}, int32 k = {2}>"
_BETWEEN = "{ q = QuantizeLinear(x, s, z) %s y = DequantizeLinear(c, s, z) }"
PROVEN = "w = Cast<to=6>(q) h = Div(w, k) c = Cast<to=2>(h)"
WRAPS = "w = Cast<to=6>(q) h = Mul(w, k) c = Cast<to=2>(h)"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "net.onnx"


def test_a_proven_model(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written.write_bytes(to_bytes(model(_HEAD + _BETWEEN % PROVEN)))
    assert cli.main(["verify", "--integer", str(written)]) == 0
    assert "net.onnx is integer-only: 3 nodes between 1 QuantizeLinear" in capsys.readouterr().out


def test_what_fails_is_named(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = model(_HEAD + _BETWEEN % WRAPS)
    for node in source.graph:
        node.name = f"the_{node.op_type}"
    written.write_bytes(to_bytes(source))
    assert cli.main(["verify", "--integer", str(written)]) == 2
    error = capsys.readouterr().err
    assert "net.onnx is not integer-only: node 'the_Cast_1' (Cast)" in error or (
        "node 'the_Cast' (Cast): its numbers reach from 0 to 510, beyond UINT8" in error
    )


def test_something_must_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="--integer"):
        verify("net.onnx", integer=False)
