from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx_ir.passes.common import ShapeInferencePass
from PIL import Image

from onnxq import cli
from onnxq.errors import ConfigError, ModelError, OutputError
from onnxq.export import vectors
from onnxq.export.vectors import VectorOptions, write_vectors
from onnxq.graph.integer_io import with_integer_io
from onnxq.graph.io import save
from onnxq.reference import evaluate
from onnxq.runtime.session import run_model
from tests.support import model

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir

NET = """f (float[N, 3] x) => (float[N, 2] y TAIL)
<float s = {0.5}, uint8 z = {128}, int8[3, 2] w = {1, -2, 3, 4, 5, -6}, float t = {0.25}> {
    q = QuantizeLinear (x, s, z)
    sums = MatMulInteger (q, w, z)
    y = DequantizeLinear (sums, t)
    NODES
}"""
PLAIN = NET.replace("TAIL", "").replace("NODES", "")
TAILED = NET.replace("TAIL", ", float[N, 2] p, float[N, 2] r").replace(
    "NODES", "[tail] e = Exp (y) p = Add (e, e) r = Add (y, y)"
)
X = np.random.default_rng(1).standard_normal((5, 3), np.float32)


def written(text: str, folder: Path, samples: int = 0) -> tuple[ir.Model, dict[str, Any]]:
    source = model(text)
    write_vectors(source, {"x": X}, folder, VectorOptions(samples=samples))
    return source, json.loads((folder / "vectors.json").read_text("utf-8"))


def read(folder: Path, entry: dict[str, Any], sample: str) -> np.ndarray:
    content = np.fromfile(folder / sample / entry["file"], np.dtype(entry["dtype"]))
    return content.reshape(entry["shape"])


def test_every_value_of_every_sample_is_written(tmp_path: Path) -> None:
    source, index = written(PLAIN, tmp_path / "v")

    assert [(e["name"], e["kind"]) for e in index["values"]] == [
        ("x", "input"),
        ("q", "intermediate"),
        ("sums", "intermediate"),
        ("y", "output"),
    ]
    assert len(index["samples"]) == 5
    for row, sample in zip(X, index["samples"], strict=True):
        wanted = run_model(source, {"x": row[np.newaxis]}, ["q", "sums", "y"])
        for entry in index["values"][1:]:
            np.testing.assert_array_equal(
                read(tmp_path / "v", entry, sample), wanted[entry["name"]], strict=True
            )
        np.testing.assert_array_equal(read(tmp_path / "v", index["values"][0], sample)[0], row)


def test_the_index_tells_scales_and_nodes(tmp_path: Path) -> None:
    _, index = written(PLAIN, tmp_path / "v", samples=1)

    entry = index["values"][1]
    assert (entry["scale"], entry["zero_point"]) == (0.5, 128)
    assert entry["operator"] == "QuantizeLinear"
    assert index["byte_order"] == "little"
    assert index["left_out"] == []


def test_what_is_not_exact_is_left_out_and_listed(tmp_path: Path) -> None:
    _, index = written(TAILED, tmp_path / "v", samples=1)

    assert [entry["name"] for entry in index["values"]] == ["x", "q", "sums", "y", "r"]
    assert len(index["left_out"]) == 1
    assert "'tail' (Exp)" in index["left_out"][0]


def test_images_become_the_codes_that_a_model_takes(tmp_path: Path) -> None:
    floats = model("""f (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y)
    <float s = {0.02}, uint8 z = {100}> {
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }""")
    ShapeInferencePass()(floats)
    codes = with_integer_io(floats)
    levels = np.random.default_rng(2).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    options = VectorOptions(preprocess="imagenet", samples=1)

    indices = []
    for name, source in (("f", floats), ("c", codes)):
        write_vectors(source, tmp_path / "a.png", tmp_path / name, options)
        indices.append(json.loads((tmp_path / name / "vectors.json").read_text("utf-8")))

    wanted = read(tmp_path / "f", indices[0]["values"][1], "sample_0000")
    entry = indices[1]["values"][0]
    assert entry == {
        "name": "x",
        "kind": "input",
        "dtype": "uint8",
        "shape": [1, 3, 4, 4],
        "file": "0000_x.bin",
        "scale": pytest.approx(0.02),
        "zero_point": 100,
    }
    np.testing.assert_array_equal(read(tmp_path / "c", entry, "sample_0000"), wanted)


def test_ready_codes_are_fed_as_they_are(tmp_path: Path) -> None:
    source = model("""f (float[N, 2] x) => (float[N, 2] y) <float s = {0.02}, uint8 z = {100}> {
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }""")
    ShapeInferencePass()(source)
    codes = np.array([[7, 255]], np.uint8)

    write_vectors(with_integer_io(source), {"x": codes}, tmp_path / "v", VectorOptions())

    index = json.loads((tmp_path / "v" / "vectors.json").read_text("utf-8"))
    np.testing.assert_array_equal(read(tmp_path / "v", index["values"][0], "sample_0000"), codes)


def test_the_same_samples_are_drawn_again(tmp_path: Path) -> None:
    for name in "ab":
        written(PLAIN, tmp_path / name, samples=2)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))

    assert len(files) == 2 * 4 + 1
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )


def test_a_model_without_anything_exact(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing in it is exact: node 'n' \(Exp\)"):
        written("f (float[N, 3] x) => (float[N, 3] y) { [n] y = Exp (x) }", tmp_path / "v")

    assert list(tmp_path.iterdir()) == []


def test_a_value_that_onnxruntime_computes_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*given: Any, **more: Any) -> Any:  # noqa: ANN401
        for value, array in evaluate(*given, **more):
            yield value, array + (value.name == "sums")

    monkeypatch.setattr(vectors, "evaluate", wrong)

    with pytest.raises(ModelError, match=r"value 'sums' differs at 2 of 2 places"):
        written(PLAIN, tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def test_samples_of_several_sizes(tmp_path: Path) -> None:
    source = model("f (uint8[N, K] x) => (uint8[N, K] y) { y = Add (x, x) }")
    feeds = [{"x": np.ones((1, n), np.uint8)} for n in (2, 3)]

    with pytest.raises(ModelError, match=r"'x' has shape \[1, 2\] .* and \[1, 3\]"):
        write_vectors(source, feeds, tmp_path / "v", VectorOptions())


def test_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "mine").touch()

    with pytest.raises(OutputError, match="is there already"):
        written(PLAIN, tmp_path / "v")
    assert [path.name for path in (tmp_path / "v").iterdir()] == ["mine"]


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="samples"):
        VectorOptions(samples=-1)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(model(TAILED), tmp_path / "net.onnx")
    np.savez(tmp_path / "d.npz", x=X)
    words = ["vectors", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "d.npz")]

    assert cli.main([*words, "-o", str(tmp_path / "v"), "--samples", "3"]) == 0

    out = capsys.readouterr().out
    assert "v/vectors.json: 3 samples of 5 values, " in out
    assert "left out, with what comes of it: node 'tail' (Exp)" in out
    assert (tmp_path / "v" / "sample_0002").is_dir()


def test_the_command_fails_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["vectors", "no.onnx", "--data", "d.npz", "-o", str(tmp_path / "v")]) == 2

    assert "no such file" in capsys.readouterr().err
