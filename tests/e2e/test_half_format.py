"""--format fp16, and half precision beside integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

import onnxq
from onnxq.errors import ConfigError, TargetError
from onnxq.graph.io import to_bytes
from onnxq.graph.query import is_op
from tests.e2e.networks import classifier, detector, he, images, integer_heavy
from tests.passes.rewrite.building import build
from tests.support import run

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


def overflowing() -> ir.Model:
    """Energies of convolved images, beyond 65504, brought back into range behind."""
    return build(
        """f (float[1,3,16,16] x, float[32,3,3,3] w, float scale, float[8,32,1,1] v)
            => (float[1,8,16,16] y) {
            c = Conv<pads=[1,1,1,1]>(x, w)
            e = Mul(c, c)
            r = Softplus(e)
            s = Div(r, scale)
            y = Conv(s, v) }""",
        w=he(32, 3, 3, 3) * np.float32(1000),
        scale=np.float32(1e6),
        v=he(8, 32, 1, 1, seed=1),
    )


def in_half(model: ir.Model, feed: dict[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Runs a model with every half precision number rounded; onnxruntime's CPU provider does not.

    It computes such operators in float32 and takes the Casts between them out, so that nothing
    overflows there.
    """
    evaluator = ReferenceEvaluator(ir.to_proto(model))
    with np.errstate(all="ignore"):
        (found,) = evaluator.run(None, feed)
    return np.asarray(found, np.float32)


def made(network: ir.Model, **options: object) -> onnxq.Result:
    return onnxq.optimize(network, {"x": images(12)}, threads=1, **options)  # type: ignore[arg-type]


def test_a_network_in_half_precision_is_half_the_size_and_nearly_the_same() -> None:
    result = made(classifier(), format="fp16", target="cuda")
    assert result.size_after < 0.6 * result.size_before
    assert result.fidelity.worst is not None
    assert result.fidelity.worst[1] > 50
    assert result.fidelity.agreement is None or result.fidelity.agreement.value == 1
    assert {weight.bits for weight in result.weights} == {16}
    assert result.findings == ()
    assert [v.dtype for v in result.model.graph.inputs] == [ir.DataType.FLOAT]
    assert [v.dtype for v in result.model.graph.outputs] == [ir.DataType.FLOAT]


def test_what_overflows_is_found_and_stays_float() -> None:
    source = overflowing()
    result = made(source, format="fp16")
    reasons = {node.op: node.reason for node in result.stayed_float}
    assert "reaches" in reasons["Mul"]
    assert "reaches" in reasons["Softplus"]
    assert 16 in {weight.bits for weight in result.weights}
    feed = {"x": images(1, seed=5)}
    found, wanted = in_half(result.model, feed), run(source, feed)["y"]
    assert np.isfinite(found).all()
    assert np.abs(found - wanted).max() < 0.01 * np.abs(wanted).max()


def test_without_that_it_would_overflow() -> None:
    """Without data nothing is known of ranges: what the samples are for."""
    source = overflowing()
    result = onnxq.optimize(source, format="fp16")
    found = in_half(result.model, {"x": images(1, seed=5)})
    assert not np.isfinite(found).all()
    assert any("half precision shows on samples alone" in text for text in result.warnings)


def test_half_precision_beside_integers() -> None:
    network = build(
        """f (float[1,3,16,16] x, float[32,3,3,3] w1, float[32] b1, int64[3] s, float[32,32] w2,
              float[32] g, float[32] h) => (float[1,256,256] y) {
            c = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r = Relu(c)
            f = Reshape(r, s)
            t = Transpose<perm=[0,2,1]>(f)
            m = MatMul(t, w2)
            n = LayerNormalization(m, g, h)
            k = Transpose<perm=[0,2,1]>(n)
            a = MatMul(n, k)
            y = Softmax(a) }""",
        w1=he(32, 3, 3, 3),
        b1=he(32, seed=1) * np.float32(0.1),
        s=np.array([1, 32, 256]),
        w2=he(32, 32, seed=2),
        g=np.ones(32, np.float32),
        h=np.zeros(32, np.float32),
    )
    result = made(network, format="qdq+fp16", target="tensorrt")
    assert integer_heavy(result.model) == 2
    half = {
        node.op_type
        for node in result.model.graph
        if node.outputs[0].dtype == ir.DataType.FLOAT16 and not is_op(node, "Cast")
    }
    assert {"LayerNormalization", "MatMul", "Softmax"} <= half
    assert result.fidelity.worst is not None
    assert result.fidelity.worst[1] > 20
    for node in result.model.graph:
        if is_op(node, "QuantizeLinear"):
            assert node.inputs[0] is not None
            assert node.inputs[0].dtype == ir.DataType.FLOAT


def test_the_file_is_named_for_its_form_and_a_plan_replays_it(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(to_bytes(overflowing()))
    plan = tmp_path / "plan.json"
    data = {"x": images(12)}
    first = onnxq.optimize(path, data, format="fp16", save_plan=plan, threads=1)
    assert first.path == tmp_path / "net.fp16.onnx"
    again = onnxq.optimize(path, data, format="fp16", plan=plan, threads=1)
    assert to_bytes(again.model) == to_bytes(first.model)


@pytest.mark.parametrize(
    ("form", "target", "message"),
    [
        ("qdq+fp16", "cpu", "cpu does not run --format qdq+fp16"),
        ("fp16", "wasm", "wasm does not run --format fp16"),
    ],
)
def test_a_target_that_does_not_run_it_says_so(form: str, target: str, message: str) -> None:
    with pytest.raises(TargetError) as caught:
        made(detector(), format=form, target=target)
    assert message in str(caught.value)


def test_inputs_and_outputs_are_half_where_asked_for() -> None:
    result = made(classifier(), format="fp16", io="half")
    borders = (*result.model.graph.inputs, *result.model.graph.outputs)
    assert {value.dtype for value in borders} == {ir.DataType.FLOAT16}
    plain = made(classifier(), format="fp16")
    feed = {"x": images(1)}
    half = {"x": feed["x"].astype(np.float16)}
    found, wanted = run(result.model, half)["y"], run(plain.model, feed)["y"]
    np.testing.assert_allclose(found.astype(np.float32), wanted, rtol=0.01, atol=0.01)
    with pytest.raises(ConfigError, match="--io half needs --format fp16"):
        made(classifier(), io="half")


def test_keep_float_keeps_float32() -> None:
    result = made(classifier(), format="fp16", keep_float=["node_c2"])
    assert {node.node: node.reason for node in result.stayed_float} == {
        "node_c2": "asked for by --keep-float"
    }
