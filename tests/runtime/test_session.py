from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

import onnxq.runtime.session as session_module
from onnxq.errors import ModelError
from onnxq.runtime.session import ModelLike, Trace, make_session, run_model

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N, 3] x) => (float[N, 3] y)
<float[3] w = {1.0, 2.0, 3.0}>
{
    a = Mul (x, w)
    b = Relu (a)
    y = Neg (b)
}
"""
BRANCHES = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[2] x, bool c) => (float[2] y)
{
    p = Neg (x)
    y = If (c) <
        then_branch = t () => (float[2] t_out) { t_in = Abs (p) t_out = Neg (t_in) },
        else_branch = e () => (float[2] e_out) { e_out = Identity (p) }
    >
}
"""
CUSTOM = """
<ir_version: 10, opset_import: ["" : 21, "ai.onnx.contrib" : 1]>
g (string[N] x) => (string[N] y) { y = ai.onnx.contrib.StringUpper (x) }
"""
FEEDS = {"x": np.array([[1.0, -2.0, 3.0]], np.float32)}


@pytest.mark.parametrize("form", ["model", "bytes", "path", "text path"])
def test_every_form_of_a_model_runs(form: str, tmp_path: Path) -> None:
    model = ir.from_onnx_text(MODEL)
    path = tmp_path / "model.onnx"
    ir.save(model, path)
    forms: dict[str, ModelLike] = {
        "model": model,
        "bytes": path.read_bytes(),
        "path": path,
        "text path": str(path),
    }
    session = make_session(forms[form])
    assert (session.inputs, session.outputs) == (("x",), ("y",))
    np.testing.assert_array_equal(session.run(FEEDS)["y"], [[-1.0, -0.0, -9.0]])


@pytest.mark.parametrize("optimize", [True, False])
def test_inner_values_come_out_as_computed(optimize: bool) -> None:
    session = make_session(ir.from_onnx_text(MODEL), optimize=optimize, outputs=["a", "b"])
    found = session.run(FEEDS)
    np.testing.assert_array_equal(found["a"], [[1.0, -4.0, 9.0]])
    np.testing.assert_array_equal(found["b"], [[1.0, 0.0, 9.0]])


def test_a_stale_recorded_shape_is_no_obstacle() -> None:
    model = ir.from_onnx_text(MODEL)
    value = model.graph[0].outputs[0]
    value.shape, value.dtype = ir.Shape([7, 7, 7]), ir.DataType.FLOAT
    assert run_model(model, FEEDS, ["a"])["a"].shape == (1, 3)


def test_run_model_returns_the_models_outputs_by_default() -> None:
    assert list(run_model(ir.from_onnx_text(MODEL), FEEDS)) == ["y"]


def test_values_inside_subgraphs_are_left_out() -> None:
    model = ir.from_onnx_text(BRANCHES)
    feeds = {"x": np.ones(2, np.float32), "c": np.array(True)}
    found = run_model(model, feeds, ["p", "t_in", "y"])
    assert list(found) == ["p", "y"]
    np.testing.assert_array_equal(found["y"], [-1.0, -1.0])


def test_the_reason_for_a_refusal_is_one_line() -> None:
    model = ir.from_onnx_text(MODEL.replace("Relu", "NoSuchOperator"))
    with pytest.raises(ModelError, match=r"^onnxruntime refuses the model: .*NoSuchOperator") as e:
        make_session(model)
    assert "\n" not in str(e.value)
    assert "ONNXRuntimeError" not in str(e.value)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_bytes_that_are_no_model_are_a_model_error(content: bytes) -> None:
    with pytest.raises(ModelError):
        make_session(content)
    with pytest.raises(ModelError):
        make_session(content, outputs=["a"])


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx"):
        make_session(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    "feeds", [{"z": FEEDS["x"]}, {"x": FEEDS["x"].astype(np.int64)}, {"x": FEEDS["x"][0]}, {}]
)
def test_feeds_that_do_not_fit_are_a_model_error(
    feeds: dict[str, npt.NDArray[Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    session = make_session(ir.from_onnx_text(MODEL))
    with pytest.raises(ModelError, match="cannot run the model"):
        session.run(feeds)
    assert capfd.readouterr() == ("", "")


def test_external_weights_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(ir.from_onnx_text(MODEL), path, external_data="w.bin", size_threshold_bytes=0)
    model = ir.load(path)
    assert isinstance(model.graph.initializers["w"].const_value, ir.ExternalTensor)
    assert run_model(model, FEEDS)["y"][0, 2] == -9.0
    assert isinstance(model.graph.initializers["w"].const_value, ir.ExternalTensor)


def test_a_model_too_large_for_a_message_goes_through_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session_module, "_MESSAGE_BYTES", 4)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_model(ir.from_onnx_text(MODEL), FEEDS)["y"][0, 2] == -9.0
    assert list(tmp_path.iterdir()) == []


def test_custom_operators_of_onnxruntime_extensions_run() -> None:
    feeds = {"x": np.array(["abc"], object)}
    assert run_model(ir.from_onnx_text(CUSTOM), feeds)["y"].tolist() == ["ABC"]


def test_an_unknown_custom_operator_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="NoSuch"):
        make_session(ir.from_onnx_text(CUSTOM.replace("StringUpper", "NoSuch")))


def test_a_trace_leaves_graph_and_profile(tmp_path: Path) -> None:
    trace = Trace(tmp_path)
    session = make_session(ir.from_onnx_text(MODEL), trace=trace)
    session.run(FEEDS)
    assert session.end_profiling().parent == tmp_path
    assert onnx.load(trace.graph, load_external_data=False).graph.output[0].name == "y"
