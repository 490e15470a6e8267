from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from onnxq.errors import ModelError
from onnxq.graph import io
from tests.support import assert_same_function, model, run

TEXT = """
<ir_version: 10, opset_import: ["": 21]>
f (float[N,4] x) => (float[N,3] y)
<float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}>
{ y = MatMul(x, w) }
"""


@pytest.fixture
def data() -> bytes:
    return io.to_bytes(model(TEXT))


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A model whose weight is in ``w.bin`` beside it."""
    path = tmp_path / "model.onnx"
    ir.save(model(TEXT), path, external_data="w.bin", size_threshold_bytes=0)
    return path


def relocate(path: Path, **changes: str) -> None:
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = changes.get(entry.key, entry.value)
    path.write_bytes(proto.SerializeToString())


def refusal(source: io.ModelSource) -> str:
    with pytest.raises(ModelError) as caught:
        io.load(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_path_bytes_proto_and_model_give_the_same(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    sources: list[io.ModelSource] = [
        path,
        str(path),
        data,
        onnx.load_from_string(data),
        model(TEXT),
    ]
    assert {io.fingerprint(io.load(source)) for source in sources} == {io.fingerprint(model(TEXT))}


def test_model_in_memory_is_cloned() -> None:
    source = model(TEXT)
    before = io.to_bytes(source)
    loaded = io.load(source)
    loaded.graph.node(0).name = "renamed"
    loaded.graph.initializers["w"].name = "renamed"
    io.to_bytes(loaded)
    assert io.to_bytes(source) == before


def test_proto_is_not_edited() -> None:
    proto = ir.to_proto(model(TEXT))
    before = proto.SerializeToString(deterministic=True)
    loaded = io.load(proto)
    loaded.graph.initializers["w"].name = "renamed"
    io.to_bytes(loaded)
    assert proto.SerializeToString(deterministic=True) == before


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.onnx")


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_no_permission(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)

    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "no permission" in refusal(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    assert "is empty" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [b"hello, world\n" * 9, b"PK\x03\x04" + bytes(100), b"{}", b"\x00", bytes(range(255, 0, -1))],
    ids=["text", "zip", "json", "zero", "noise"],
)
def test_not_onnx(content: bytes) -> None:
    assert "not an ONNX model" in refusal(content)


def test_lfs_pointer() -> None:
    assert "git lfs pull" in refusal(b"version https://git-lfs.example/spec/v1\noid sha256:0\n")


def test_no_cut_loads(data: bytes) -> None:
    """A file cut anywhere is refused, or held nothing behind the cut that matters."""
    whole = io.fingerprint(io.load(data))
    for length in range(1, len(data)):
        try:
            assert io.fingerprint(io.load(data[:length])) == whole
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_truncated(data: bytes) -> None:
    assert "truncated" in refusal(data[: len(data) // 2])


def test_no_graph() -> None:
    proto = onnx.ModelProto(ir_version=10)
    assert "no graph" in refusal(proto)


def test_no_outputs(data: bytes) -> None:
    proto = onnx.load_from_string(data)
    del proto.graph.output[:]
    assert "no outputs" in refusal(proto)


@pytest.mark.parametrize(("version", "word"), [(15, "newer"), (2, "older")])
def test_ir_version(data: bytes, version: int, word: str) -> None:
    proto = onnx.load_from_string(data)
    proto.ir_version = version
    assert word in refusal(proto)


def test_opset_too_new(data: bytes) -> None:
    proto = onnx.load_from_string(data)
    proto.opset_import[0].version = 29
    assert "opset 29 is newer" in refusal(proto)


def test_newest_versions_load(data: bytes) -> None:
    proto = onnx.load_from_string(data)
    proto.ir_version = 14
    proto.opset_import[0].version = 28
    assert io.load(proto).graph.opset_imports == {"": 28}


def test_sparse_initializer(data: bytes) -> None:
    proto = onnx.load_from_string(data)
    sparse = onnx.SparseTensorProto(dims=[4, 3])
    sparse.values.name = "w"
    proto.graph.sparse_initializer.append(sparse)
    assert "weight 'w' is stored sparse" in refusal(proto)


def test_sparse_constant(data: bytes) -> None:
    proto = onnx.load_from_string(data)
    node = proto.graph.node.add(op_type="Constant", output=["c"])
    attribute = node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.dims.append(1)
    assert "weight 'c' is stored sparse" in refusal(proto)


def test_duplicate_values(data: bytes) -> None:
    proto = onnx.load_from_string(data)
    proto.graph.node.append(proto.graph.node[0])
    assert "'y' is redeclared" in refusal(proto)


@pytest.mark.parametrize("kind", ["input", "initializer"])
def test_duplicate_declarations(data: bytes, kind: str) -> None:
    proto = onnx.load_from_string(data)
    items = getattr(proto.graph, kind)
    items.append(items[0])
    assert f"{kind} '{items[0].name}' is declared twice" in refusal(proto)


def test_weight_with_too_few_bytes() -> None:
    proto = ir.to_proto(model(TEXT))
    tensor = proto.graph.initializer[0]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros((4, 3), np.float32), "w"))
    tensor.raw_data = tensor.raw_data[:-1]
    assert "weight 'w' holds 47 bytes where its shape asks for 48" in refusal(proto)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("f (float[2] x) => (float[2] y) { [n] y = Add(x, lost) }", "node 'n' reads 'lost'"),
        ("f (float[2] x) => (float[2] y) { z = Abs(x) }", "nothing produces the output 'y'"),
        (
            """f (float[2] x, bool c) => (float[2] y) { y = If(c) <
            then_branch = t () => (float[2] p) { p = Neg(lost) },
            else_branch = e () => (float[2] q) { q = Neg(x) }> }""",
            "node 'p' reads 'lost'",
        ),
        (
            """f (float[2] x, bool c) => (float[2] y, float[2] z) { y = If(c) <
            then_branch = t () => (float[2] p) { p = Neg(x) },
            else_branch = e () => (float[2] q) { q = Neg(x) }> z = Neg(p) }""",
            "node 'z' reads 'p'",
        ),
    ],
    ids=["input", "output", "branch", "value of a branch"],
)
def test_dangling(text: str, words: str) -> None:
    header = '<ir_version: 10, opset_import: ["": 21]>'
    assert words in refusal(onnx.parser.parse_model(header + text))


def test_other_types() -> None:
    assert "not int" in refusal(3)  # type: ignore[arg-type]


def test_external_data_stays_mapped(external: Path) -> None:
    loaded = io.load(external)
    tensor = loaded.graph.initializers["w"].const_value
    assert isinstance(tensor, ir.ExternalTensor)
    assert_same_function(model(TEXT), loaded)


def test_external_data_from_another_folder(external: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(external.parent)
    loaded = io.load("model.onnx")
    monkeypatch.chdir("/")
    x = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(run(loaded, {"x": x})["y"][3], [10, 11, 12])


def test_external_data_missing(external: Path) -> None:
    (external.parent / "w.bin").unlink()
    assert "'w.bin' of weight 'w' is missing" in refusal(external)


def test_external_data_cut(external: Path) -> None:
    path = external.parent / "w.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert "needs 48 bytes, the file has 47" in refusal(external)


@pytest.mark.parametrize("change", [{"length": "40"}, {"offset": "-4"}], ids=["length", "offset"])
def test_external_data_damaged_reference(external: Path, change: dict[str, str]) -> None:
    relocate(external, **change)
    assert "damaged" in refusal(external)


@pytest.mark.parametrize("location", ["/etc/hostname", "../w.bin", "a/../../w.bin"])
def test_external_data_outside(external: Path, location: str) -> None:
    relocate(external, location=location)
    assert "outside the model's folder" in refusal(external)


def test_external_data_link_outside(
    external: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = external.parent / "w.bin"
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "w.bin"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "leads outside" in refusal(external)


def test_external_data_link_inside(external: Path) -> None:
    path = external.parent / "w.bin"
    path.rename(external.parent / "real.bin")
    path.symlink_to("real.bin")
    assert_same_function(model(TEXT), io.load(external))


def test_external_data_hard_link(external: Path) -> None:
    (external.parent / "second.bin").hardlink_to(external.parent / "w.bin")
    assert "several hard links" in refusal(external)


def test_external_data_is_a_folder(external: Path) -> None:
    (external.parent / "w.bin").unlink()
    (external.parent / "w.bin").mkdir()
    assert "cannot be read: Is a directory" in refusal(external)


def test_external_data_without_a_path(external: Path) -> None:
    assert "whose folder is unknown" in refusal(external.read_bytes())
