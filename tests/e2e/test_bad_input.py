"""What cannot be used, given to the real command: one line, an exit code, nothing else."""

from __future__ import annotations

import hashlib
import io
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from onnxq.cli import main
from tests.e2e.exports import export

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NET = """net (float[1,3,8,8] x, float[4,3,3,3] w1, float[4] b1) => (float[1,4,6,6] y)
    { c = Conv(x, w1, b1) y = Relu(c) }"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with a good model net.onnx and good data good.npz."""
    monkeypatch.chdir(tmp_path)
    onnx.save(export(NET), "net.onnx")
    np.savez("good.npz", x=_samples())
    return tmp_path


def _samples(**change: float) -> np.ndarray:
    array = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    array[2, 0, 0, 0] = change.get("value", 0.0)
    return array


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def refusal(here: Path, capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """Runs the command, asserts that it changes no file, and returns its one line."""
    before = _contents(here)
    assert main(["optimize", *words]) == code
    assert _contents(here) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def _edited(change: Callable[[onnx.ModelProto], None]) -> bytes:
    proto = export(NET)
    change(proto)
    return bytes(proto.SerializeToString())


def _sparse(proto: onnx.ModelProto) -> None:
    dense = proto.graph.initializer.pop(0)
    sparse = proto.graph.sparse_initializer.add()
    sparse.dims.extend(dense.dims)
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), dense.name))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0, 5]), "where"))


def _external(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def _operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].op_type = "Frobnicate"


def _later(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].op_type = "Gelu"


def _domain(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].domain = "com.example"
    proto.opset_import.add(domain="com.example", version=1)


MODELS: dict[str, tuple[bytes, str]] = {
    "text": (b"hello world\nthis is text\n", "is not an ONNX model"),
    "empty": (b"", "is empty"),
    "half": (export(NET).SerializeToString()[:300], "is not an ONNX model, or is truncated"),
    "sparse": (_edited(_sparse), "'w1' is stored sparse"),
    "external data missing": (_edited(_external("gone.bin")), "'gone.bin' of weight 'w1' is"),
    "external data outside": (_edited(_external("../net.onnx")), "outside the model's folder"),
    "external data at the root": (_edited(_external("/etc/passwd")), "outside the model's folder"),
    "unknown operator": (_edited(_operator), "Frobnicate"),
    "operator of a later opset": (_edited(_later), "Gelu exists since opset 20, but the"),
    "custom operator": (_edited(_domain), "com.example:Relu"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, said = MODELS[name]
    (here / "bad.onnx").write_bytes(content)
    line = refusal(here, capsys, "bad.onnx", "--data", "good.npz", "-o", "out.onnx")
    assert said in line


def test_no_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.onnx: no such file" in refusal(here, capsys, "missing.onnx")
    assert "is a folder" in refusal(here, capsys, str(here))
    assert "path of the model is empty" in refusal(here, capsys, "", "-o", "out.onnx")


def _archive(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


DATA: dict[str, tuple[bytes, str]] = {
    "names": (_archive(image=_samples(), mask=_samples()), "no array for input 'x'"),
    "shape": (_archive(x=_samples()[:, :, :4]), "input 'x' wants [samples, 3, 8, 8]"),
    "dtype": (_archive(x=_samples().astype(np.int64)), "input 'x' wants float32"),
    "words": (_archive(x=np.array(["a", "b"])), "input 'x' wants float32"),
    "not a number": (_archive(x=_samples(value=np.nan)), "sample 2 holds NaN or infinity"),
    "infinite": (_archive(x=_samples(value=np.inf)), "sample 2 holds NaN or infinity"),
    "no samples": (_archive(x=_samples()[:0]), "holds no samples"),
    "damaged": (b"PK\x03\x04junk", "is damaged"),
}


@pytest.mark.parametrize("name", DATA)
def test_data(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, said = DATA[name]
    (here / "bad.npz").write_bytes(content)
    line = refusal(here, capsys, "net.onnx", "--data", "bad.npz", "-o", "out.onnx")
    assert "bad.npz" in line
    assert said in line


def test_no_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "folder").mkdir()
    for path, said in (("gone.npz", "No such file"), ("folder", "no files"), ("", "is empty")):
        assert said in refusal(here, capsys, "net.onnx", "--data", path)


FEEDS = """import numpy as np
LEVEL = 3
def fail(): raise KeyError('camera')
def wrong(): yield {'x': np.zeros((3, 8, 4), np.float32)}
def empty(): return iter(())
"""


def test_data_from_code(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (here / "feeds.py").write_text(FEEDS)
    for name, said in (
        ("feeds.py:fail", "data feeds.py:fail failed at feeds.py:3 with KeyError: 'camera'"),
        ("feeds.py:wrong", "data feeds.py:wrong, sample 0: array 'x' has shape [3, 8, 4]"),
        ("feeds.py:empty", "yields no samples"),
        ("feeds.py:LEVEL", "not a callable"),
        ("feeds.py:gone", "has no 'gone'"),
        ("gone.py:fail", "there is no file gone.py"),
        ("no_such_module:fail", "there is no module 'no_such_module'"),
        ("feeds.py", "feeds.py:FUNCTION"),
    ):
        assert said in refusal(here, capsys, "net.onnx", "--data", name)


def test_a_list_of_paths(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, said in (
        ("good.npz\ngone.npz\n", "list.txt, line 2: there is no file gone.npz"),
        ("good.npz\nnet.onnx\n", "list.txt, line 2: net.onnx is neither"),
        ("# nothing\n", "names no files"),
    ):
        (here / "list.txt").write_text(text)
        assert said in refusal(here, capsys, "net.onnx", "--data", "list.txt")


@pytest.mark.parametrize("option", ["-o", "--json"])
def test_data_to_write_over(option: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "deep" / "er").mkdir(parents=True)
    (here / "good.npz").rename("deep/er/good.npz")
    (here / "list.txt").write_text("deep/er/good.npz")
    for data in ("deep", "list.txt", "deep/er/good.npz"):
        words = ["net.onnx", "--data", data, "-o", "out.onnx", option, "deep/er/good.npz"]
        assert "deep/er/good.npz" in refusal(here, capsys, *words)


def _picture() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (12, 9, 3))
    Image.fromarray(noise.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_unreadable_images_among_good_ones_are_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "images").mkdir()
    for number in range(5):
        (here / "images" / f"{number}.png").write_bytes(_picture())
    (here / "images" / "7.png").write_bytes(b"no image")
    (here / "images" / "8.png").write_bytes(_picture()[:120])
    words = ["net.onnx", "--data", "images", "--preprocess", "raw", "-o", "out.onnx"]
    assert main(["optimize", *words]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "2 files could not be read and were left out" in out
    assert (here / "out.onnx").exists()


def test_unreadable_images_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "images").mkdir()
    (here / "images" / "7.png").write_bytes(b"no image")
    words = ["net.onnx", "--data", "images", "-o", "out.onnx"]
    assert "need --preprocess" in refusal(here, capsys, *words)
    line = refusal(here, capsys, *words, "--preprocess", "raw")
    assert "none of 1 images is readable" in line


OPTIONS: list[tuple[str, str]] = [
    ("--calibration entropy", "choose mse, minmax, kl, percentile"),
    ("--weights 5", "--weights 5 is not allowed"),
    ("--activations 16", "--activations 16 is not allowed"),
    ("--weight-granularity row", "choose channel or tensor"),
    ("--target gpu", "no target 'gpu'"),
    ("--format tflite", "choose qdq"),
    ("--opset 12", "give 21 to 25"),
    ("--samples -3", "--samples -3 is not allowed"),
    ("--threads -1", "--threads -1 is not allowed"),
    ("--seed x", "'--seed'"),
    ("--require foo>=1", "METRIC one of"),
    ("--passes nosuch", "no pass 'nosuch'"),
    ("--skip nosuch", "no pass 'nosuch'"),
    ("--plan gone.json", "gone.json"),
    ("--preprocess yolo", "does not apply"),
    ("--nonsense", "no such option"),
    ("another", "unexpected extra argument"),
]


@pytest.mark.parametrize(("words", "said"), OPTIONS, ids=[words for words, _ in OPTIONS])
def test_an_option(words: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(here, capsys, "net.onnx", "--data", "good.npz", "-o", "out.onnx", *words.split())
    assert said in line


PLACES = ["net.onnx/out", "gone/out", "/proc/gone/out", "/dev/full", "folder"]


@pytest.mark.parametrize("option", ["-o", "--json", "--report", "--save-plan"])
@pytest.mark.parametrize("place", PLACES)
def test_a_place_to_write(
    option: str, place: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "folder").mkdir()
    words = ["net.onnx", "--data", "good.npz"]
    if option != "-o":
        words += ["-o", "out.onnx"]
    assert place in refusal(here, capsys, *words, option, place)


def test_an_interrupt(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for stage in ("CalibrationData.open", "check_plan", "fidelity"):
        with monkeypatch.context() as patch:
            patch.setattr(f"onnxq.pipeline.{stage}", interrupted)
            words = ["net.onnx", "--data", "good.npz", "-o", "out.onnx"]
            assert "interrupted" in refusal(here, capsys, *words, code=130)
