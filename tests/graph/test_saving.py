from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxq.errors import OutputError
from onnxq.graph import io
from tests.support import assert_same_function, model


def two_layers() -> ir.Model:
    """Two weights of 64 KiB and 4 KiB and one of 4 bytes."""
    source = model(
        """f (float[N,128] x, float[128,128] a, float[128,8] b) => (float[N,8] y)
        <float[1] c = {2}> { t = MatMul(x, a)  u = MatMul(t, b)  y = Mul(u, c) }"""
    )
    rng = np.random.default_rng(0)
    x, *weights = source.graph.inputs
    source.graph.inputs.clear()
    source.graph.inputs.append(x)
    for value in weights:
        assert value.shape is not None
        array = rng.standard_normal(value.shape.numpy()).astype(np.float32)
        value.const_value = ir.tensor(array, name=value.name)
        source.graph.register_initializer(value)
    return source


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refusal(source: ir.Model, path: Path, external_above: float = 1e9) -> str:
    with pytest.raises(OutputError) as caught:
        io.save(source, path, external_above=external_above)
    message = str(caught.value)
    assert "\n" not in message
    return message


def failing(code: int) -> object:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("above", [1e9, 1000.0], ids=["inside", "external"])
def test_round_trip(tmp_path: Path, above: float) -> None:
    source = two_layers()
    io.save(source, tmp_path / "m.onnx", external_above=above)
    loaded = io.load(tmp_path / "m.onnx")
    assert_same_function(source, loaded)
    assert io.to_bytes(loaded) == io.to_bytes(source)
    onnx.checker.check_model(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize(("above", "expected"), [(69_000, True), (70_000, False)])
def test_external_only_above_the_limit(tmp_path: Path, above: float, expected: bool) -> None:
    written = io.save(two_layers(), tmp_path / "m.onnx", external_above=above)
    names = ["m.onnx", "m.onnx.data"] if expected else ["m.onnx"]
    assert [path.name for path in written] == names
    assert files(tmp_path) == set(names)


def test_small_weights_stay_inside(tmp_path: Path) -> None:
    io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    inside = [t.name for t in proto.graph.initializer if not t.external_data]
    assert inside == ["c"]


def test_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        io.save(two_layers(), tmp_path / name / "m.onnx", external_above=0)
    for name in ("m.onnx", "m.onnx.data"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_saving_leaves_the_model_alone(tmp_path: Path) -> None:
    source = two_layers()
    tensors = [value.const_value for value in source.graph.initializers.values()]
    io.save(source, tmp_path / "m.onnx", external_above=0)
    assert [value.const_value for value in source.graph.initializers.values()] == tensors


def test_external_model_moves_to_another_folder(tmp_path: Path) -> None:
    io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    (tmp_path / "other").mkdir()
    io.save(io.load(tmp_path / "m.onnx"), tmp_path / "other" / "m.onnx")
    assert files(tmp_path / "other") == {"m.onnx"}
    assert_same_function(two_layers(), io.load(tmp_path / "other" / "m.onnx"))


def test_external_data_of_a_constant_is_taken_in(tmp_path: Path) -> None:
    source = model(
        "f (float[2] x) => (float[2] y) { c = Constant<value = float[2] {1,2}>() y = Add(x, c) }"
    )
    (tmp_path / "c.bin").write_bytes(np.array([3, 4], np.float32).tobytes())
    tensor = ir.ExternalTensor(
        "c.bin", 0, 8, ir.DataType.FLOAT, shape=ir.Shape([2]), name="c", base_dir=tmp_path
    )
    source.graph.node(0).attributes.add(ir.AttrTensor("value", tensor))
    proto = onnx.load_from_string(io.to_bytes(source))
    stored = onnx.numpy_helper.to_array(proto.graph.node[0].attribute[0].t)
    np.testing.assert_array_equal(stored, [3, 4])


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    finally:
        os.umask(previous)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o640}


def test_link_to_the_target_is_kept(tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(b"old")
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    io.save(two_layers(), tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert_same_function(two_layers(), io.load(tmp_path / "real.onnx"))


def test_target_is_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(two_layers(), tmp_path)


def test_target_is_a_device() -> None:
    assert "not a regular file" in refusal(two_layers(), Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_folder_is_missing(tmp_path: Path) -> None:
    assert "folder does not exist" in refusal(two_layers(), tmp_path / "absent" / "m.onnx")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "no permission"),
        (errno.EIO, "cannot be written: Input/output error"),
    ],
    ids=["space", "quota", "permission", "read-only", "other"],
)
@pytest.mark.parametrize("call", ["open", "replace"])
def test_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, call: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"old")
    monkeypatch.setattr(os if call == "open" else Path, call, failing(code))
    assert words in refusal(two_layers(), tmp_path / "m.onnx", external_above=0)
    monkeypatch.undo()
    assert files(tmp_path) == {"m.onnx"}
    assert (tmp_path / "m.onnx").read_bytes() == b"old"


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), RuntimeError("bug")], ids=["ctrl-c", "bug"]
)
def test_interruption_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def interrupt(*_: object) -> bytes:
        raise failure

    monkeypatch.setattr("onnxq.graph.saving.write_model", interrupt)
    with pytest.raises(type(failure)):
        io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("existing", "replaced"),
    [(False, 0), (False, 1), (True, 0), (True, 1), (True, 2)],
    ids=["new data", "new model", "backup of old data", "data", "model"],
)
def test_failure_between_two_files_restores_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: int, existing: bool
) -> None:
    if existing:
        (tmp_path / "m.onnx").write_bytes(b"old model")
        (tmp_path / "m.onnx.data").write_bytes(b"old data")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    original, calls = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == replaced + 1:
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_pair_replaces_pair(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"old model")
    (tmp_path / "m.onnx.data").write_bytes(b"old data")
    io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    assert files(tmp_path) == {"m.onnx", "m.onnx.data"}
    assert_same_function(two_layers(), io.load(tmp_path / "m.onnx"))


def test_read_only_target_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.onnx").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "no permission to replace" in refusal(two_layers(), tmp_path / "m.onnx")


def test_mapped_file_is_never_overwritten(tmp_path: Path) -> None:
    io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    loaded = io.load(tmp_path / "m.onnx")
    before = (tmp_path / "m.onnx.data").read_bytes()
    message = refusal(loaded, tmp_path / "m.onnx", external_above=0)
    assert "-o" in message
    assert "being read" in refusal(loaded, tmp_path / "m.onnx.data")
    assert (tmp_path / "m.onnx.data").read_bytes() == before


def test_protected_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"input")
    (tmp_path / "link.onnx").symlink_to("m.onnx")
    for target in (path, tmp_path / "link.onnx"):
        with pytest.raises(OutputError, match="the model or the data that is being read"):
            io.save(two_layers(), target, protect=[path])
    assert path.read_bytes() == b"input"


def test_check_target_leaves_no_trace(tmp_path: Path) -> None:
    io.check_target(two_layers(), tmp_path / "m.onnx")
    assert files(tmp_path) == set()


def test_too_large_for_one_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.graph.saving._PROTOBUF_LIMIT", 1000)
    with pytest.raises(OutputError, match="too much for one"):
        io.to_bytes(two_layers())


def test_fingerprint_does_not_depend_on_where_weights_lie(tmp_path: Path) -> None:
    io.save(two_layers(), tmp_path / "m.onnx", external_above=0)
    assert io.fingerprint(io.load(tmp_path / "m.onnx")) == io.fingerprint(two_layers())


@pytest.mark.parametrize("what", ["weight", "attribute", "name", "output name", "metadata"])
def test_fingerprint_sees_each_change(what: str) -> None:
    source = two_layers()
    before = io.fingerprint(source)
    if what == "weight":
        weight = source.graph.initializers["a"]
        assert weight.const_value is not None
        array = weight.const_value.numpy().copy()
        array[5, 5] = np.nextafter(array[5, 5], np.float32(9))
        weight.const_value = ir.tensor(array, name="a")
    elif what == "attribute":
        source.graph.node(0).attributes.add(ir.AttrInt64("k", 1))
    elif what == "name":
        source.graph.node(0).name = "other"
    elif what == "output name":
        source.graph.outputs[0].name = "other"
    else:
        source.metadata_props["k"] = "v"
    assert io.fingerprint(source) != before


def test_empty_weight(tmp_path: Path) -> None:
    source = model("f (float[2] x) => (float[2] y) <float[0] e = {}> { y = Concat<axis=0>(x, e) }")
    io.save(source, tmp_path / "m.onnx", external_above=0)
    assert io.fingerprint(io.load(tmp_path / "m.onnx")) == io.fingerprint(source)


@pytest.mark.parametrize(
    "dtype",
    [
        ir.DataType.INT4,
        ir.DataType.UINT8,
        ir.DataType.BFLOAT16,
        ir.DataType.INT64,
        ir.DataType.BOOL,
    ],
    ids=str,
)
def test_all_types_of_weights(tmp_path: Path, dtype: ir.DataType) -> None:
    source = model(
        "f (float[2] x) => (float[2] y, float[2049] w) <float[1] w = {1}> { y = Abs(x) }"
    )
    array = (np.arange(2049) % 2).astype(dtype.numpy())
    value = source.graph.initializers["w"]
    value.const_value = ir.Tensor(array, dtype=dtype, name="w")
    value.type = ir.TensorType(dtype)
    io.save(source, tmp_path / "m.onnx", external_above=0)
    loaded = io.load(tmp_path / "m.onnx")
    assert io.to_bytes(loaded) == io.to_bytes(source)
    assert io.fingerprint(loaded) == io.fingerprint(source)
