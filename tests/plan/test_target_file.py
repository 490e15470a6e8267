from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.errors import TargetError
from onnxq.plan.target import OpKind, load_target

if TYPE_CHECKING:
    from pathlib import Path

_WHOLE = """
summary = "a chip"
provider = "CPUExecutionProvider"
formats = ["qdq"]
opset = 21
activation = "int8"
weight = "int8"
bias = "float"
symmetric = true
[axes]
Conv = "output"
[ops.Conv]
kind = "heavy"
inputs = [0]
"""


def _load(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_file_of_its_own_describes_a_whole_target(tmp_path: Path) -> None:
    found = load_target(_load(tmp_path, _WHOLE))
    assert (found.name, found.summary, str(found.activation)) == ("mine", "a chip", "int8")
    assert found.ops["Conv"].kind is OpKind.HEAVY
    assert found.costs is None
    assert found.pair_bound is None
    assert not found.measured


def test_a_file_may_change_another_target(tmp_path: Path) -> None:
    cpu = load_target("cpu")
    text = """extends = "cpu"
pair_bound = 0
[ops.Sigmoid]
kind = "float"
[ops.Gemm]
needs_output = true
[costs.Add]
integer = { output_ns = 9 }
"""
    found = load_target(_load(tmp_path, text))
    assert found.pair_bound is None
    assert set(found.ops) == set(cpu.ops) - {"Sigmoid"}
    assert found.ops["Gemm"].needs_output
    assert found.ops["Gemm"].when == cpu.ops["Gemm"].when
    assert found.costs is not None
    assert found.costs.integer["Add"].output_ns == 9
    assert load_target("cpu") == cpu


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    assert load_target(_load(tmp_path, _WHOLE)).opset == 21
    assert load_target(_load(tmp_path, _WHOLE.replace("opset = 21", "opset = 23"))).opset == 23


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("opset = 21", ""), "opset is missing"),
        (("opset = 21", "opset = -1"), "opset must be a whole number"),
        (("symmetric = true", "symmetrical = true"), "symmetrical is unknown"),
        (("symmetric = true", "symmetric = 1"), "symmetric must be true or false"),
        (('"int8"\nweight', '"int99"\nweight'), "activation must be an integer type"),
        (('["qdq"]', '["tflite"]'), "formats must be a list of qdq"),
        (('["qdq"]', "[]"), "formats must be a list of qdq"),
        (('"float"', '"int8"'), "bias must be int32 or float"),
        (('Conv = "output"', 'Conv = "input"'), r"\[axes\] Conv must be"),
        (('kind = "heavy"', 'kind = "light"'), r"\[ops.Conv\] needs kind = one of heavy"),
        (('kind = "heavy"', ""), r"\[ops.Conv\] needs kind = one of heavy"),
        (("inputs = [0]", "inputs = 0"), r"\[ops.Conv\] inputs must be"),
        (("inputs = [0]", "input = [0]"), r"\[ops.Conv\] does not know input"),
        (("inputs = [0]", "needs_output = 1"), r"\[ops.Conv\] needs_output must be"),
        (("[axes]", "[costs.quantize]\n[axes]"), r"\[costs.dequantize\] is missing"),
        (("[axes]", '[sources]\ntypes = "me"\n[axes]'), r"\[sources\] types must be"),
        (("[axes]", "axes = 3\n[other]"), "axes must be a table"),
        (("opset = 21", "opset = "), "no valid TOML"),
        (("summary", 'extends = "gpu"\nsummary'), "no target 'gpu'; there are: .*cpu"),
        (("summary", "extends = 3\nsummary"), "extends must be the name of a target"),
    ],
)
def test_a_malformed_file_is_refused_with_file_and_key(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in _WHOLE
    path = _load(tmp_path, _WHOLE.replace(change[0], change[1], 1))
    with pytest.raises(TargetError, match=message) as caught:
        load_target(path)
    assert "extends" in change[1] or "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"cannot read .*none.toml: No such file"):
        load_target(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TargetError, match=r"binary.toml is no UTF-8 text"):
        load_target(str(tmp_path / "binary.toml"))
