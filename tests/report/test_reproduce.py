"""The command that gives a result again."""

from __future__ import annotations

import shlex
from pathlib import Path

from onnxq.config import Config, Requirement
from onnxq.report.reproduce import command


def test_defaults_need_no_words() -> None:
    assert command("net.onnx", None, Config()) == "onnxq optimize net.onnx"


def test_every_kind_of_option_is_spelled() -> None:
    config = Config(
        output=Path("out dir/net.onnx"),
        check=True,
        weights=4,
        keep_float=("a*", "b"),
        require=(Requirement("sqnr", 20),),
        skip=("x", "y"),
    )

    words = shlex.split(command(Path("net.onnx"), "images/", config))

    assert words[:5] == ["onnxq", "optimize", "net.onnx", "--data", "images/"]
    assert words[5:] == [
        *["--output", "out dir/net.onnx", "--weights", "4", "--keep-float", "a*"],
        *["--keep-float", "b", "--require", "sqnr>=20", "--skip", "x,y", "--check"],
    ]


def test_a_pipeline_is_told_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[rewrite]]\nname = "fold-pad"\n')

    told = command("net.onnx", None, Config(pipeline=file))  # type: ignore[arg-type]

    assert told == f"onnxq optimize net.onnx --pipeline {shlex.quote(str(file))}"
    assert command("net.onnx", None, Config.of({"pipeline": {"rewrite": []}})) == ""


def test_python_objects_have_no_command() -> None:
    assert command(b"model", None, Config()) == ""
    assert command("net.onnx", {"x": 1}, Config()) == ""
