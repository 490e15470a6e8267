"""Whole normalization: what exports of many tools look like, and the models in the onnx package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from onnxq.graph import io
from onnxq.graph.spec import violations_float
from onnxq.manager import PassManager
from onnxq.passes.rewrite.normalize import normalize_passes, repair_passes
from tests.support import assert_same_function, feeds_for, model, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FAST = {"light_squeezenet"}


def normalized(source: ir.Model, opset: int = 21) -> ir.Model:
    result = io.load(source)
    for rewrite in (*repair_passes(), *normalize_passes(opset)):
        rewrite(result)
    return result


def run_values(
    source: ir.Model, feeds: Mapping[str, npt.NDArray[Any]], names: Sequence[str] | None
) -> dict[str, npt.NDArray[Any]]:
    assert names is None, "the outputs differ"
    return run(source, feeds)


EXPORTS = {
    "caffe converter": """<ir_version: 3, opset_import: ["": 7]>
        f (float[1,2,4,4] x, float[2,2,1,1] w, float[2] b) => (float[1,2] prob)
        <float[2,2,1,1] w = {1,2,3,4}, float[2] b = {1,2}> {
            c = Conv<kernel_shape = [1,1]>(x, w, b)
            r = Relu(c)
            p = GlobalAveragePool(r)
            f = Flatten(p)
            d, mask = Dropout<ratio = 0.5>(f)
            prob = Softmax(d)
        }""",
    "pytorch": """<ir_version: 6, opset_import: ["": 11]>
        f (float[batch,3,4,4] x) => (float[batch,48] y) {
            c = Clip(x)
            s = Shape(c)
            z = Constant<value = int64 {0}>()
            n = Gather<axis = 0>(s, z)
            u = Unsqueeze<axes = [0]>(n)
            m = Constant<value = int64[1] {-1}>()
            t = Concat<axis = 0>(u, m)
            y = Reshape(c, t)
        }""",
    "tf2onnx": """<ir_version: 8, opset_import: ["": 15]>
        f (float[N,4,4,3] x) => (float[N,3] Identity_0, float[N,3] Identity_1)
        <int64[2] axes = {1,2}> {
            [same] t = Transpose<perm = [0,3,1,2]>(x)
            m = ReduceMean<axes = [2,3], keepdims = 0>(t)
            Identity_0 = Identity(m)
            Identity_1 = Identity(m)
        }""",
    "functions": """<ir_version: 10, opset_import: ["": 18, "pkg": 1]>
        f (float[2] x) => (float[2] y) { a = pkg.act(x) y = pkg.act(a) }
        <domain: "pkg", opset_import: ["": 18]> act (v) => (w) { s = Sigmoid(v) w = Mul(v, s) }""",
    "loop and if": """<ir_version: 8, opset_import: ["": 13]>
        f (float[2] x, bool c) => (float[2] y) <int64 n = {3}, bool on = {1}> {
            l = Loop(n, on, x) <body = b (int64 i, bool ci, float[2] v) => (bool co, float[2] w) {
                co = Identity(ci)
                k = Constant<value_float = 2.0>()
                w = Mul(v, k)
            }>
            y = If(c) <
                then_branch = t () => (float[2] w) { w = Dropout(l) },
                else_branch = e () => (float[2] w) { k = Identity(l) w = Neg(k) }>
        }""",
    "output that is read": """<ir_version: 8, opset_import: ["": 13]>
        f (float[2] x) => (float[2] a, float[2] b, float[2] c) {
            a = Relu(x) b = Identity(a) t = Neg(a) c = Identity(t)
        }""",
    "output from input and weight": """<ir_version: 8, opset_import: ["": 13]>
        f (float[2] x) => (float[2] a, float[2] b, float[2] c) <float[2] w = {1,2}> {
            a = Identity(x) b = Identity(w) c = Add(x, w)
        }""",
    "nothing standard": """<ir_version: 8, opset_import: ["com.microsoft": 1]>
        f (float[2] x) => (float[2] y) { y = com.microsoft.Gelu(x) }""",
    "named domain": """<ir_version: 8, opset_import: ["ai.onnx": 13]>
        f (float[2] x) => (float[2] y) { y = ai.onnx.Relu(x) }""",
    "non-maximum suppression": """<ir_version: 7, opset_import: ["": 11]>
        f (float[1,6,4] boxes, float[1,1,6] scores) => (int64[M,3] y)
        <int64[1] n = {3}, float[1] i = {0.5}, float[1] t = {0.0}> {
            r = NonMaxSuppression(boxes, scores, n, i, t) y = Identity(r)
        }""",
}


@pytest.mark.parametrize("name", EXPORTS)
def test_exports(name: str) -> None:
    source = model(EXPORTS[name])
    result = normalized(source)
    assert violations_float(result) == []
    assert "Constant" not in [node.op_type for node in result.graph.all_nodes()]
    assert "Dropout" not in [n.op_type for n in result.graph]
    assert [v.name for v in result.graph.outputs] == [v.name for v in source.graph.outputs]
    assert_same_function(source, result)


@pytest.mark.parametrize("name", EXPORTS)
def test_idempotent(name: str) -> None:
    result = normalized(model(EXPORTS[name]))
    passes = [*repair_passes(), *normalize_passes()]
    assert [rewrite.name for rewrite in passes if rewrite(result).modified] == []


@pytest.mark.parametrize("name", EXPORTS)
def test_deterministic(name: str) -> None:
    first, second = (io.to_bytes(normalized(model(EXPORTS[name]))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", EXPORTS)
def test_no_pass_breaks_its_contract(name: str) -> None:
    source = model(EXPORTS[name])
    for rewrite in repair_passes():
        rewrite(source)
    probes = [feeds_for(source, seed) for seed in range(2)]
    manager = PassManager(check=True, run_model=run_values, probes=probes)
    manager.rewrite(source, normalize_passes())
    assert manager.trace.rolled_back == ()


def test_modified_is_honest() -> None:
    """A pass that says it changed nothing left the fingerprint alone."""
    for text in EXPORTS.values():
        source = model(text)
        for rewrite in (*repair_passes(), *normalize_passes()):
            before = io.fingerprint(source)
            modified = rewrite(source).modified
            assert modified == (io.fingerprint(source) != before), rewrite.name


def test_dynamic_batch_stays_dynamic() -> None:
    source = model(EXPORTS["pytorch"])
    result = normalized(source)
    assert str(result.graph.inputs[0].shape) == "[batch,3,4,4]"
    for batch in (1, 3):
        assert_same_function(source, result, feeds_for(source, batch=batch))


def test_shape_chain_of_a_static_model_is_gone() -> None:
    source = model(EXPORTS["pytorch"].replace("batch", "2"))
    assert [node.op_type for node in normalized(source).graph] == ["Clip", "Reshape"]


@pytest.mark.parametrize(("opset", "ir_version"), [(21, 10), (25, 13)])
def test_opset_can_be_chosen(opset: int, ir_version: int) -> None:
    result = normalized(model(EXPORTS["pytorch"]), opset)
    assert result.graph.opset_imports[""] == opset
    assert result.ir_version == ir_version
    assert run(result, {"x": np.ones((1, 3, 4, 4), np.float32)})["y"].shape == (1, 48)


def test_metadata_is_kept() -> None:
    source = model(EXPORTS["pytorch"])
    source.metadata_props["classes"] = "cat,dog"
    source.producer_name = "tool"
    result = normalized(source)
    assert result.metadata_props == {"classes": "cat,dog"}
    assert result.producer_name == "tool"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem in FAST else pytest.mark.slow)
        for path in sorted(LIGHT.glob("*.onnx"))
    ],
)
def test_models_of_the_onnx_package(path: Path) -> None:
    source = io.load(path)
    result = source.clone()
    for rewrite in repair_passes():
        rewrite(result)
    probes = [feeds_for(source)]
    manager = PassManager(check=True, run_model=run_values, probes=probes)
    result = manager.rewrite(result, normalize_passes())
    assert manager.trace.rolled_back == ()
    assert violations_float(result) == []
    assert "ConstantOfShape" not in [node.op_type for node in result.graph]
    assert_same_function(source, result)
