"""The shipped classifier on integers alone: reference, onnxruntime and a program in C agree."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.export.firmware import export_firmware
from onnxq.export.vectors import VectorOptions, write_vectors
from tests.tools.firmware_program import NEEDS_GCC, built
from tools.models.testset import MODELS, pictures_of

if TYPE_CHECKING:
    from pathlib import Path

CLASSIFIER = "digits_mobilenetv2"


@pytest.mark.slow
@NEEDS_GCC
def test_the_shipped_classifier_gives_the_same_bits_in_c(tmp_path: Path) -> None:
    data, recipe = pictures_of(CLASSIFIER) / "calibration", MODELS / f"{CLASSIFIER}.toml"
    path = tmp_path / "integer.onnx"
    onnxq.optimize(
        MODELS / f"{CLASSIFIER}.onnx",
        data=data,
        preprocess=recipe,
        format="integer",
        output=path,
        samples=32,
        threads=1,
    )
    # Every value is compared with onnxruntime here.
    options = VectorOptions(preprocess=str(recipe), samples=16)
    vectors = write_vectors(path, data, tmp_path / "vectors", options)
    tables = export_firmware(path, tmp_path / "tables")
    program = built(tmp_path)

    assert vectors.left_out == tables.left_out == ()
    index = json.loads((tmp_path / "vectors" / "vectors.json").read_text("utf-8"))
    (fed,) = (entry["file"] for entry in index["values"] if entry["kind"] == "input")
    (wanted,) = (entry["file"] for entry in index["values"] if entry["kind"] == "output")
    assert len(index["samples"]) == 16
    for name in index["samples"]:
        sample = tmp_path / "vectors" / name
        words = [program, tmp_path / "tables", sample / fed, tmp_path / "out.bin"]
        subprocess.run(words, check=True)
        assert (tmp_path / "out.bin").read_bytes() == (sample / wanted).read_bytes()
