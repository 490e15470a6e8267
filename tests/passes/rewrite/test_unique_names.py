from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.spec import violations_float
from onnxq.passes.rewrite.unique_names import UniqueNames
from tests.support import assert_same_function, model

if TYPE_CHECKING:
    import onnx_ir as ir

BRANCHES = """f (float[2] x, bool c) => (float[2] y) {
    y = If(c) <
        then_branch = t () => (float[2] p) { [n] s = Exp(x) [m] p = Neg(s) },
        else_branch = e () => (float[2] p) { [n] s = Abs(x) [m] p = Neg(s) }>
}"""


def names(source: ir.Model) -> list[str | None]:
    return [node.name for node in source.graph.all_nodes()]


def test_nameless_nodes() -> None:
    source = model("f (float[2] x) => (float[2] y) { t = Relu(x) y = Neg(t) }")
    rewrite = UniqueNames()
    assert rewrite(source).modified
    assert names(source) == ["Relu_0", "Neg_1"]
    assert not rewrite(source).modified


def test_duplicate_nodes() -> None:
    source = model(
        "f (float[2] x) => (float[2] y) { [n] t = Relu(x) [n] s = Neg(t) [n_1] y = Abs(s) }"
    )
    UniqueNames()(source)
    assert names(source) == ["n", "n_1", "n_1_1"]


def test_generated_name_is_taken() -> None:
    source = model("f (float[2] x) => (float[2] y) { [Neg_1] t = Relu(x) y = Neg(t) }")
    UniqueNames()(source)
    assert names(source) == ["Neg_1", "Neg_1_1"]


def test_equal_names_in_sibling_branches() -> None:
    after = model(BRANCHES)
    assert UniqueNames()(after).modified
    assert violations_float(after) == []
    assert_same_function(model(BRANCHES), after)


def test_graph_boundary_keeps_its_names() -> None:
    """An inner value that is called like an output gives way, though it comes first."""
    source = model("f (float[2] x) => (float[2] y) { t = Relu(x) y = Neg(t) }")
    source.graph.node(0).outputs[0].name = "y"
    UniqueNames()(source)
    assert source.graph.outputs[0].name == "y"
    assert source.graph.node(0).outputs[0].name == "y_1"
    assert source.graph.inputs[0].name == "x"


def test_nameless_value() -> None:
    source = model("f (float[2] x) => (float[2] y) { [r] t = Relu(x) y = Neg(t) }")
    source.graph.node(0).outputs[0].name = None
    UniqueNames()(source)
    assert source.graph.node(0).outputs[0].name == "r_output"


def test_output_that_is_left_out_stays_nameless() -> None:
    source = model("f (float[2,9] x) => (int64[2,3] i) <int64[1] k = {3}> { [n] , i = TopK(x, k) }")
    assert not UniqueNames()(source).modified
    assert not source.graph.node(0).outputs[0].name


def test_weight_follows_its_name() -> None:
    source = model("f (float[2] x) => (float[2] y) <float[2] w = {1,2}> { [n] y = Add(x, w) }")
    source.graph.initializers["w"].name = "x"
    UniqueNames()(source)
    assert list(source.graph.initializers) == ["x_1"]
    assert_same_function(
        model("f (float[2] x) => (float[2] y) <float[2] w = {1,2}> { y = Add(x, w) }"), source
    )


def test_output_that_is_also_read_keeps_its_name() -> None:
    source = model("f (float[2] x) => (float[2] y, float[2] z) { [a] y = Relu(x) [b] z = Neg(y) }")
    assert not UniqueNames()(source).modified
