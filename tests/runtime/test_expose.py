import onnx_ir as ir

from onnxq.runtime.expose import expose, produced_values

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[2, 3] x) => (float[2, 3] y)
<float[1] w = {2.0}>
{
    a = Mul (x, w)
    b = Relu (a)
    y = Neg (b)
}
"""


def test_outputs_come_once_each_in_graph_order() -> None:
    model = ir.from_onnx_text(MODEL)
    copy = expose(model, ["y", "a", "a"])
    assert [value.name for value in copy.graph.outputs] == ["a", "y"]


def test_what_no_node_produces_is_left_out() -> None:
    model = ir.from_onnx_text(MODEL)
    assert [v.name for v in expose(model, ["x", "w", "none", "b"]).graph.outputs] == ["b"]


def test_the_model_stays_as_it_was() -> None:
    model = ir.from_onnx_text(MODEL)
    expose(model, ["a"])
    (output,) = model.graph.outputs
    assert output.name == "y"
    assert output.shape == ir.Shape([2, 3])


def test_produced_values_are_those_of_the_main_graph() -> None:
    assert list(produced_values(ir.from_onnx_text(MODEL))) == ["a", "b", "y"]
