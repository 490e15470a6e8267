"""What is told of small models that have one peculiarity each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxq
from onnxq.errors import ConfigError, ModelError
from onnxq.graph.io import save, to_bytes
from onnxq.graph.layers import LayerKind
from onnxq.inspection import inspect
from onnxq.report.inspect_result import Body, Signature, Storage
from tests.passes.rewrite.building import build, rng_weight
from tests.support import model

if TYPE_CHECKING:
    from pathlib import Path

CONV = """f (float[N, 16, 32, 32] x, float[32, 16, 3, 3] w, float[32, 32, 3, 3] v)
    => (float[N, 32, 28, 28] y) {
    c = Conv (x, w)
    r = Relu (c)
    y = Conv (r, v)
}"""
MACS = 32 * 30 * 30 * 16 * 9 + 32 * 28 * 28 * 32 * 9


def conv() -> ir.Model:
    return build(CONV, w=rng_weight(32, 16, 3, 3), v=rng_weight(32, 32, 3, 3))


def test_the_file_is_described() -> None:
    source = conv()
    source.producer_name, source.producer_version = "pen", "2"
    source.metadata_props["author"] = "me"

    found = inspect(source)

    assert (found.ir_version, dict(found.opsets)) == (10, {"ai.onnx": 21})
    assert (found.producer, dict(found.metadata)) == ("pen 2", {"author": "me"})
    assert found.inputs == (Signature("x", "FLOAT", ("N", 16, 32, 32)),)
    assert found.outputs == (Signature("y", "FLOAT", ("N", 32, 28, 28)),)
    assert dict(found.operators) == {"Conv": 2, "Relu": 1}
    elements = 32 * 16 * 9 + 32 * 32 * 9
    assert found.storage == (Storage("FLOAT", 2, elements, 4 * elements, 0),)
    assert found.size is None


def test_costs_are_for_one_sample() -> None:
    found = inspect(conv())

    assert found.fed == {"x": "float32[1,16,32,32]"}
    assert found.layers == (LayerKind("Conv 3×3", 2, MACS),)
    assert found.activations is not None
    assert found.activations.bytes == 4 * 2 * 32 * 30 * 30


def test_task_and_preprocessing_are_told_where_the_model_shows_them() -> None:
    source = build(
        """f (float[N,3,16,16] x, float[10,3,16,16] w) => (float[N,10] y) {
            c = Conv(x, w)
            f = Flatten(c)
            y = Softmax(f) }""",
        w=rng_weight(10, 3, 16, 16),
    )
    found = inspect(source)
    assert found.task.startswith("classification")
    assert found.preprocessing == ""
    source.metadata_props.update({"names": "{}", "stride": "32", "task": "classify"})
    assert "Ultralytics" in inspect(source).preprocessing


def test_a_shape_fills_open_dimensions() -> None:
    assert inspect(conv(), shapes=["x=2x16x32x32"]).macs == 2 * MACS


@pytest.mark.parametrize("shape", ["z=1", "x=1x3x32x32", "x"])
def test_a_shape_that_does_not_fit_is_refused(shape: str) -> None:
    with pytest.raises(ConfigError, match="--shape"):
        inspect(conv(), shapes=[shape])


def test_what_would_be_quantized_is_told_with_reasons_for_the_rest() -> None:
    would = inspect(conv()).forecast

    assert would is not None
    assert (would.nodes, would.layers, would.macs) == (3, 2, MACS)
    assert len(would.integer) + len(would.stayed_float) == would.nodes
    assert "node_y" in would.integer
    assert all(node.reason for node in would.stayed_float)


def test_rewrites_that_apply_are_told() -> None:
    source = build(
        """f (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w, float[4] s, float[4] b) => (y) {
        c = Conv (x, w)
        y = BatchNormalization (c, s, b, b, s)
    }""",
        w=rng_weight(4, 4, 1, 1),
        s=np.ones(4, np.float32),
        b=np.zeros(4, np.float32),
    )

    would = inspect(source).forecast

    assert would is not None
    assert dict(would.rewrites) == {"fold-batchnorm": 1}
    assert would.nodes == 1


def test_the_model_is_left_alone() -> None:
    source = conv()
    before = to_bytes(source)

    inspect(source)

    assert to_bytes(source) == before


def test_a_quantized_model_has_its_share_listed() -> None:
    source = build(
        """f (float[2, 3] x, float s, uint8 z, uint8[3, 5] w, float[5, 5] v) => (y) {
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        e = DequantizeLinear (w, s, z)
        m = MatMul (d, e)
        y = MatMul (m, v)
    }""",
        s=np.float32(0.1),
        z=np.uint8(3),
        w=np.ones((3, 5), np.uint8),
        v=rng_weight(5, 5),
    )

    found = inspect(source)

    assert found.quantized is not None
    assert dict(found.quantized.operators) == {"DequantizeLinear": 2, "QuantizeLinear": 1}
    assert (found.quantized.integer_macs, found.quantized.macs) == (30, 80)
    assert (found.forecast, found.activations) == (None, None)
    assert "quantized already" in found.refusal


def test_bodies_are_listed_with_what_they_hold() -> None:
    source = model(
        """f (float[2] x, bool c) => (float[2] y) {
        y = If (c) <
            then_branch = t () => (float[2] a) { b = Exp (x)  a = Neg (b) },
            else_branch = e () => (float[2] a2) { a2 = Identity (x) }
        >
    }"""
    )

    found = inspect(source)

    assert found.bodies == (Body("y", "If", "then_branch", 2), Body("y", "If", "else_branch", 1))
    assert found.operators["Exp"] == 1


@pytest.mark.parametrize(
    ("operator", "shown"), [("abc.Frob", "abc:Frob"), ("Frobnicate", "Frobnicate")]
)
def test_unknown_operators_are_named_and_the_file_is_described_still(
    operator: str, shown: str
) -> None:
    domain, _, op = operator.rpartition(".")
    source = model("f (float[2, 2] x) => (float[2, 2] y) { a = MatMul (x, x)  y = Neg (a) }")
    source.graph[1].domain, source.graph[1].op_type = domain, op
    source.opset_imports[domain or ""] = 21

    found = inspect(source)

    assert found.unknown == (shown,)
    assert found.refusal
    assert found.macs == 8
    assert found.fed == {}
    assert found.notes[0].startswith("shapes are those in the file")


def test_a_model_that_does_not_run_on_the_made_up_input_keeps_its_own_shapes() -> None:
    source = build("f (float[N, 3, H, 8] x, float[4, 3, 3, 3] w) => (y) { y = Conv (x, w) }",
                   w=rng_weight(4, 3, 3, 3))  # fmt: skip

    found = inspect(source)

    assert found.layers == (LayerKind("Conv 3×3", 1, 0, unknown=1),)
    assert "shapes are those in the file" in found.notes[0]
    assert found.forecast is not None
    assert inspect(source, shapes=["x=1x3x8x8"]).macs == 4 * 36 * 27


def test_external_data_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    ir.save(conv(), path, external_data="weights.bin", size_threshold_bytes=0)

    found = inspect(path)

    assert found.external_files == ("weights.bin",)
    assert found.storage[0].external == found.storage[0].bytes
    assert found.size == path.stat().st_size + found.storage[0].bytes


def test_weights_that_are_no_numbers_are_a_refusal() -> None:
    weight = rng_weight(32, 16, 3, 3)
    weight[0] = np.nan
    source = build(CONV, w=weight, v=rng_weight(32, 32, 3, 3))

    assert "weight 'w' holds NaN" in inspect(source).refusal


def test_what_cannot_be_read_raises_as_optimizing_does(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(to_bytes(conv())[:-100])

    with pytest.raises(ModelError) as inspected:
        inspect(path)
    with pytest.raises(ModelError) as optimized:
        onnxq.optimize(path)

    assert str(inspected.value) == str(optimized.value)


def test_it_is_public(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(conv(), tmp_path / "net.onnx")

    assert onnxq.inspect(tmp_path / "net.onnx").name == "net.onnx"
    assert onnxq.inspect(onnx.load(tmp_path / "net.onnx")).macs == MACS
    assert capsys.readouterr() == ("", "")
