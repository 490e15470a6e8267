"""The shipped models on integers alone: reference, onnxruntime and a program in C agree."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import onnxq
from onnxq.export.firmware import export_firmware
from onnxq.export.vectors import VectorOptions, write_vectors
from tests.tools.firmware_program import NEEDS_GCC, built
from tools.models.testset import MODELS, pictures_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@NEEDS_GCC
@pytest.mark.parametrize(
    ("name", "count"), [("digits_mobilenetv2", 16), ("digits_vit", 4), ("digits_yolo", 2)]
)
def test_the_same_bits_in_c(tmp_path: Path, name: str, count: int) -> None:
    data, recipe = pictures_of(name) / "calibration", MODELS / f"{name}.toml"
    path = tmp_path / "integer.onnx"
    onnxq.optimize(
        MODELS / f"{name}.onnx",
        data=data,
        preprocess=recipe,
        format="integer",
        output=path,
        samples=8,
        threads=1,
    )
    # Every value is compared with onnxruntime here.
    options = VectorOptions(preprocess=str(recipe), samples=count)
    write_vectors(path, data, tmp_path / "vectors", options)
    export_firmware(path, tmp_path / "tables")
    index, graph = (read(tmp_path / file) for file in ("vectors/vectors.json", "tables/graph.json"))
    files = {entry["name"]: entry["file"] for entry in index["values"]}
    fed, wanted = (
        [files[graph["values"][number]["name"]] for number in graph[key]]
        for key in ("inputs", "outputs")
    )
    program = built(tmp_path)
    assert len(index["samples"]) == count
    for sample in index["samples"]:
        folder = tmp_path / "vectors" / sample
        found = [tmp_path / file for file in wanted]
        words = [program, tmp_path / "tables", *(folder / file for file in fed), *found]
        subprocess.run(words, check=True)
        for file in found:
            assert file.read_bytes() == (folder / file.name).read_bytes(), file.name


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
