"""Models made for other targets than the CPU: what they ask for is in the file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxq
from onnxq.conformance.finding import Severity
from onnxq.errors import TargetError
from onnxq.graph.io import to_bytes
from onnxq.graph.query import is_op
from onnxq.runtime.machine import machine_target
from tests.e2e.networks import classifier, detector, he, images, integer_heavy
from tests.passes.rewrite.building import build
from tests.support import run

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.report.result import Result


def upsampler() -> ir.Model:
    """Convolution, transposed convolution, HardSwish, sum, pool, convolution."""
    return build(
        """f (float[1,3,16,16] x, float[32,3,3,3] w1, float[32] b1, float[32,16,2,2] t,
              float[16] bt, float[32,16,1,1] w2, float[8,32,1,1] w3, float[8] b3, float zero,
              float six) => (float[1,8,16,16] y) {
            c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r1 = Clip(c1, zero, six)
            u = ConvTranspose<strides=[2,2]>(r1, t, bt)
            h = HardSwish(u)
            p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(h)
            q = Conv(p, w2)
            s = Add(q, r1)
            y = Conv(s, w3, b3) }""",
        w1=he(32, 3, 3, 3),
        b1=he(32, seed=1) * np.float32(0.1),
        t=he(32, 16, 2, 2, seed=2),
        bt=he(16, seed=3) * np.float32(0.1),
        w2=he(32, 16, 1, 1, seed=4),
        w3=he(8, 32, 1, 1, seed=5),
        b3=he(8, seed=6),
        zero=np.float32(0),
        six=np.float32(6),
    )


NETWORKS = {"classifier": classifier, "detector": detector, "upsampler": upsampler}


@cache
def optimized(network: str, target: str, **options: object) -> Result:
    return onnxq.optimize(
        NETWORKS[network](), {"x": images(12)}, target=target, threads=1, **options  # type: ignore[arg-type]
    )  # fmt: skip


def nodes(made: ir.Model, op_type: str) -> list[ir.Node]:
    return [node for node in made.graph if is_op(node, op_type)]


def zero_points(made: ir.Model) -> list[ir.TensorProtocol]:
    found = [node.inputs[2] for node in nodes(made, "QuantizeLinear")]
    return [value.const_value for value in found if value and value.const_value is not None]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("target", ["tensorrt", "openvino"])
def test_symmetric_targets_get_signed_bytes_around_zero_and_their_biases(
    network: str, target: str
) -> None:
    made = optimized(network, target).model
    zeros = zero_points(made)
    assert zeros
    assert all(z.dtype == ir.DataType.INT8 and not z.numpy().any() for z in zeros)
    assert all(z.size == 1 for z in zeros)
    stored = {node.inputs[0].dtype for node in nodes(made, "DequantizeLinear") if node.inputs[0]}
    biases = {ir.DataType.INT32} if target == "openvino" else set()
    assert stored == {ir.DataType.INT8} | biases
    assert not nodes(made, "Max")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("target", ["cpu", "cpu-vnni", "openvino", "tensorrt", "qnn", "wasm"])
def test_what_is_made_runs_alike_at_all_levels(network: str, target: str) -> None:
    result = optimized(network, target)
    feed = {"x": images(1, seed=7)}
    # Signed activations, which others take, saturate in onnxruntime's kernels for AVX2.
    saturates = machine_target() == "cpu-avx2" and target in ("openvino", "tensorrt", "qnn")
    plain = run(result.model, feed, "off")["y"]
    fused = run(result.model, feed, "basic" if saturates else "all")["y"]
    close = np.abs(plain - fused) <= 0.06 * np.abs(plain).max()
    assert close.all()
    assert result.fidelity.worst is not None
    assert saturates or result.fidelity.worst[1] > 22


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("target", ["cpu", "cpu-vnni", "openvino", "tensorrt", "qnn", "wasm"])
def test_what_is_made_passes_the_lint_of_its_target(network: str, target: str) -> None:
    result = optimized(network, target)
    assert [f for f in result.findings if f.severity is not Severity.NOTE] == []
    saved = onnxq.lint(to_bytes(result.model), target=target)
    assert saved.findings == result.findings


def test_qnn_gets_fixed_shapes_and_says_so() -> None:
    result = optimized("classifier", "qnn")
    shapes = [value.shape for value in (*result.model.graph.inputs, *result.model.graph.outputs)]
    assert shapes == [ir.Shape([1, 3, 16, 16]), ir.Shape([1, 10])]
    assert "qnn takes fixed shapes: x, y got those of a sample" in result.warnings


SHIPPED = {
    "digits_mobilenetv2": ("digits_mobilenetv2", "models/digits_mobilenetv2.toml"),
    "digits_vit": ("digits_mobilenetv2", "models/digits_vit.toml"),
    "digits_yolo": ("digits_yolo", "yolo"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("target", ["cpu", "openvino", "tensorrt", "qnn"])
def test_shipped_models_pass_the_lint_of_their_target(name: str, target: str) -> None:
    folder, preprocess = SHIPPED[name]
    result = onnxq.optimize(
        onnx.load(f"models/{name}.onnx"),
        f"models/{folder}/calibration",
        preprocess=preprocess,
        target=target,
        threads=1,
    )
    assert [f for f in result.findings if f.severity is not Severity.NOTE] == []


def test_tensorrt_gets_one_scale_for_a_transposed_convolution() -> None:
    made = optimized("upsampler", "tensorrt").model
    (up,) = nodes(made, "ConvTranspose")
    reader = up.inputs[1].producer() if up.inputs[1] else None
    assert reader is not None
    assert is_op(reader, "DequantizeLinear")
    assert reader.inputs[1] is not None
    assert reader.inputs[1].const_value is not None
    assert reader.inputs[1].const_value.size == 1
    first = nodes(made, "Conv")[0].inputs[1]
    assert first is not None
    scale = first.producer().inputs[1]  # type: ignore[union-attr]
    assert scale is not None
    assert scale.const_value is not None
    assert scale.const_value.size == 32


def test_qnn_gets_whole_node_units() -> None:
    made = optimized("upsampler", "qnn").model
    for node in made.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        data = [value for value in node.inputs if value is not None and value.dtype == 1]
        producers = [value.producer() for value in data if value.const_value is None]
        assert all(p is not None and is_op(p, "DequantizeLinear") for p in producers), node.name
        readers = node.outputs[0].consumers()
        assert [user.op_type for user in readers] == ["QuantizeLinear"], node.name


def test_weights_for_vnni_keep_the_codes_that_others_have_to_give_up() -> None:
    safe, full = optimized("classifier", "cpu"), optimized("classifier", "cpu-vnni")
    assert integer_heavy(safe.model) > 0
    assert any("16-bit saturation" in note.text for note in safe.notes)
    assert not any("16-bit saturation" in note.text for note in full.notes)
    assert to_bytes(optimized("classifier", "cpu-avx2").model) == to_bytes(safe.model)


def test_the_result_says_what_it_was_made_for_and_what_was_not_measured() -> None:
    away = optimized("classifier", "tensorrt")
    assert away.made_for is not None
    assert (away.made_for.target, away.made_for.away) == ("tensorrt", True)
    assert away.made_for.stands == "documents"
    assert away.latency is None
    assert away.metric("integer") is None
    assert any("tensorrt" in warning for warning in away.warnings)
    here = optimized("classifier", "cpu")
    assert here.made_for is not None
    assert not here.made_for.away
    assert here.latency is not None


def test_a_target_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "chip.toml"
    path.write_text('extends = "cpu"\n[ops.Gemm]\nkind = "float"\n', "utf-8")
    made = onnxq.optimize(classifier(), {"x": images(12)}, target=str(path), threads=1)
    reasons = {node.op: node.reason for node in made.stayed_float}
    assert reasons["Gemm"] == "chip has no integer kernel for Gemm"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cuda", r"cuda has no integer kernels for layers; give --format fp16, or leave out"),
        ("coreml", r"coreml does not run --format qdq; give fp16"),
        ("gpu", r"no target 'gpu'; there are: .*cuda"),
    ],
)
def test_a_target_without_that_form_is_refused_in_one_line(target: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        onnxq.optimize(classifier(), {"x": images(4)}, target=target)


def test_cuda_gets_weights_alone_without_data() -> None:
    made = onnxq.optimize(classifier(batch="1"), target="cuda", weights=4)
    assert made.weights
    assert made.size_after < 0.3 * made.size_before
