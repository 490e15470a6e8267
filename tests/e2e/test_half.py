"""Models exported in half precision: the same result as in float32, behind their own interface."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxq
from onnxq.errors import ModelError
from onnxq.graph.io import to_bytes
from tests.e2e.exports import assert_goes_through, export, sqnr
from tests.e2e.networks import classifier, detector, images, integer_heavy
from tests.passes.rewrite.building import build
from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from onnxq.report.result import Result

NETWORKS: dict[str, Callable[[], ir.Model]] = {"classifier": classifier, "detector": detector}
HALF = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@pytest.fixture(autouse=True)
def _short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.report.verify._BUDGET_S", 0.01)


def halved(source: ir.Model, kind: str) -> ir.Model:
    """The model with all its float32 weights and values in half precision."""
    dtype = ir.DataType.from_numpy(HALF[kind])
    for value in source.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
            value.const_value = ir.tensor(tensor.numpy().astype(HALF[kind]), name=value.name)
    computed = [value for node in source.graph for value in node.outputs]
    for value in (*source.graph.inputs, *source.graph.initializers.values(), *computed):
        if value.dtype == ir.DataType.FLOAT:
            value.type = ir.TensorType(dtype)
    return source


def data_for(name: str) -> dict[str, npt.NDArray[Any]]:
    return {"x": images(8 if name == "detector" else 16)}


@cache
def result(name: str, kind: str, *, with_data: bool = True) -> Result:
    source = NETWORKS[name]() if kind == "float" else halved(NETWORKS[name](), kind)
    data = data_for(name) if with_data else None
    return onnxq.optimize(source, data, threads=1, check=True)


def reference(name: str, kind: str) -> npt.NDArray[np.float32]:
    """What the network computes in float32 on half precision weights and input."""
    net = halved(NETWORKS[name](), kind)
    x = images(1, seed=9).astype(HALF[kind]).astype(np.float32)
    for value in (*net.graph.inputs, *net.graph.initializers.values()):
        if value.const_value is not None and value.dtype != ir.DataType.INT64:
            wide = value.const_value.numpy().astype(np.float32)
            value.const_value = ir.tensor(wide, name=value.name)
        if value.dtype != ir.DataType.INT64:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in net.graph:
        for value in node.outputs:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    return np.asarray(run(net, {"x": x})["y"])


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_layers_run_on_integers_as_in_float32(name: str, kind: str) -> None:
    found, wanted = result(name, kind), result(name, "float")
    assert found.integer_share == pytest.approx(wanted.integer_share)
    assert found.integer_share > 0
    assert integer_heavy(found.model) == integer_heavy(wanted.model)
    assert [row.name for row in found.trace if row.rolled_back] == []


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_judged_against_the_model_as_given(name: str, kind: str) -> None:
    found = result(name, kind)
    assert found.fidelity.samples > 0
    assert found.fidelity.sqnr["y"] > 30
    assert found.fidelity.task == result(name, "float").fidelity.task


@pytest.mark.parametrize("level", ["off", "all"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("with_data", [False, True])
def test_what_comes_out_takes_and_gives_float16(name: str, level: Any, with_data: bool) -> None:  # noqa: ANN401
    found = result(name, "float16", with_data=with_data)
    onnx.checker.check_model(to_bytes(found.model), full_check=True)
    y = run(found.model, {"x": images(1, seed=9).astype(np.float16)}, level)["y"]
    assert y.dtype == np.float16
    assert sqnr(reference(name, "float16"), y) > 30


def test_what_comes_out_takes_and_gives_bfloat16() -> None:
    found = result("classifier", "bfloat16").model
    (x,), (y,) = found.graph.inputs, found.graph.outputs
    assert (x.dtype, y.dtype) == (ir.DataType.BFLOAT16, ir.DataType.BFLOAT16)
    onnx.checker.check_model(to_bytes(found), full_check=True)


def test_bfloat16_is_compared_in_float32_and_says_so() -> None:
    first = result("classifier", "bfloat16").warnings[0]
    assert first.startswith("the model runs in float32 alone")
    assert "bfloat16" in first
    for kind in ("float", "float16"):
        assert not any("alone" in text for text in result("classifier", kind).warnings)


@pytest.mark.parametrize("kind", HALF)
def test_the_ratio_of_sizes_is_to_what_was_given(kind: str) -> None:
    found, wide = result("classifier", kind), result("classifier", "float")
    assert found.size_before == pytest.approx(wide.size_before / 2, rel=0.01)
    assert found.size_after == pytest.approx(wide.size_after, rel=0.05)


@pytest.mark.parametrize("opset", [11, 13, 21, 23])
def test_mixed_precision_leaves_no_casts(opset: int) -> None:
    text = """net (float[1,3,16,16] x, float16[64,3,3,3] w1, float16[64,64,3,3] w2)
        => (float[1,64,12,12] y) {
        h = Cast<to = 10>(x) c = Conv(h, w1) f = Cast<to = 1>(c) s = Sigmoid(f)
        q = Cast<to = 10>(s) r = Relu(q) d = Conv(r, w2) y = Cast<to = 1>(d) }"""
    found = assert_goes_through(export(text, opset), least=25)
    assert "Cast" not in [node.op_type for node in found.model.graph]


def test_a_broken_weight_is_refused() -> None:
    net = build(
        "f (float16[1,2] x, float16[2,2] w) => (float16[1,2] y) { y = MatMul(x, w) }",
        w=np.array([[1, np.nan], [0, 0]], np.float16),
    )
    with pytest.raises(ModelError, match="weight 'w' holds NaN"):
        onnxq.optimize(net, None)


@pytest.mark.parametrize("kind", HALF)
def test_inspect_forecasts(kind: str) -> None:
    found = onnxq.inspect(halved(classifier(), kind))
    assert not found.refusal
    assert found.notes == ()
    assert {row.dtype for row in found.storage} == {kind.upper()}
    assert found.forecast is not None
    assert found.forecast.integer_layers == 2
