from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.plan.obstacles import clip_bounds, data_positions, obstacle
from onnxq.plan.target import load_target
from onnxq.plan.work import kernel_kind, work_of
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

CPU = load_target("cpu")


def node(name: str, text: str, **weights: np.ndarray) -> ir.Node:
    return build(text, **weights).graph.node(f"node_{name}")


def convolved(middle: str, outputs: str = "float[1,3,M,N] y", **weights: np.ndarray) -> ir.Model:
    values = "".join(f", float[{','.join(map(str, w.shape))}] {k}" for k, w in weights.items())
    return build(
        f"""f (float[1,3,8,8] x, float[3,3,1,1] w{values}) => ({outputs}) {{
            c = Conv(x, w)
            {middle} }}""",
        w=rng_weight(3, 3, 1, 1),
        **weights,
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("y = Tanh(c)", "no integer kernel for Tanh"),
        ("y = Softmax(c)", "no integer kernel for Softmax"),
        ("y = AveragePool<kernel_shape = [2,2]>(c)", "no integer kernel for AveragePool"),
    ],
)
def test_rule_1_operators_must_be_in_the_table(text: str, reason: str) -> None:
    found = obstacle(convolved(text).graph.node("node_y"), CPU)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ("alpha = 2.0", "alpha = 1.0"),
        ("beta = 0.5", "beta = 1.0"),
        ("transB = 1", None),
        ("", None),
    ],
)
def test_rule_1_attributes_must_be_as_the_table_says(attributes: str, wanted: str | None) -> None:
    call = f"Gemm<{attributes}>(x, w)" if attributes else "Gemm(x, w)"
    found = obstacle(
        node(
            "y",
            f"f (float[2,3] x, float[3,3] w) => (float[2,3] y) {{ y = {call} }}",
            w=rng_weight(3, 3),
        ),
        CPU,
    )
    assert found == (None if wanted is None else f"cpu needs {wanted}")


@pytest.mark.parametrize(("mode", "free"), [("nearest", True), ("linear", False)])
def test_rule_1_text_attributes_count(mode: str, free: bool) -> None:
    source = convolved(f'y = Resize<mode = "{mode}">(c, , s)', s=np.array([1, 1, 2, 2], np.float32))
    assert (obstacle(source.graph.node("node_y"), CPU) is None) == free


def test_rule_1_operators_of_other_domains_have_no_rule() -> None:
    source = build(
        """<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>
        f (float[2,3] x) => (float[2,3] y) { y = com.microsoft.Add(x, x) }"""
    )
    assert obstacle(source.graph[0], CPU) == "cpu has no integer kernel for Add"


def test_rule_2_operands_are_activations() -> None:
    text = "f (float[2,3] x, float[3] k) => (float[2,3] y) { y = Mul(x, k) }"
    assert obstacle(node("y", text, k=rng_weight(3)), CPU) == "an operand is no float activation"
    assert obstacle(node("y", text), CPU) is None


def test_rule_2_integers_are_no_activations() -> None:
    text = "f (int64[2,3] x) => (int64[2,3] y) { y = Add(x, x) }"
    assert obstacle(node("y", text), CPU) == "an operand is no float activation"


def test_rule_2_only_split_may_have_several_outputs() -> None:
    pool = convolved(
        "y, i = MaxPool<kernel_shape = [2,2]>(c)", "float[1,3,M,N] y, int64[1,3,M,N] i"
    )
    assert obstacle(pool.graph.node("node_y"), CPU) == "it has several outputs"
    alone = convolved("y, i = MaxPool<kernel_shape = [2,2]>(c)")
    assert obstacle(alone.graph.node("node_y"), CPU) is None
    split = convolved(
        "y, z = Split<axis = 2, num_outputs = 2>(c)", "float[1,3,M,N] y, float[1,3,M,N] z"
    )
    assert obstacle(split.graph.node("node_y"), CPU) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "f (float[2,3] x, float[3,3] v) => (float[2,3] y) { y = MatMul(x, v) }",
            "its second operand is no constant weight",
        ),
        (
            "f (float[2,3] x, float[3] k) => (float[2] y) { y = MatMul(x, k) }",
            "its second operand is no constant weight",
        ),
        (
            "f (float[2,4,3] x, float[2,3,3] w) => (float[2,4,3] y) { y = MatMul(x, w) }",
            "its weight is no matrix",
        ),
        (
            "f (float[2,3] x, float[3,3] m, float[3] b) => (float[2,3] y) { y = Gemm(x, m, b) }",
            "its bias is no constant",
        ),
        (
            "f (float[2,3] x, float[3,3] m, float[3] k) => (float[2,3] y) { y = Gemm(x, m, k) }",
            None,
        ),
    ],
    ids=["computed", "vector", "stack", "computed-bias", "free"],
)
def test_rule_3_weights_are_constant_matrices(text: str, reason: str | None) -> None:
    data = {"k": rng_weight(3), "w": rng_weight(2, 3, 3), "m": rng_weight(3, 3)}
    given = {name: array for name, array in data.items() if f"] {name}" in text}
    assert obstacle(node("y", text, **given), CPU) == reason


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        ("y = Relu(c)", None),
        ("a = Add(c, c) y = Relu(a)", None),
        ("r = Relu(c) y = Add(r, c)", "the value in front of it is read elsewhere too"),
        ("a = Sigmoid(c) y = Relu(a)", "Sigmoid does not absorb it"),
        ("y = Clip(c, low, six)", None),
        ("y = Clip(c, , six)", None),
        ("y = Clip(c, six)", "its bounds do not enclose 0"),
        ("e = Exp(low) y = Clip(c, e)", "its bounds do not enclose 0"),
        ("y = Relu(x)", "the value in front of it is read elsewhere too"),
    ],
)
def test_rule_4_where_relu_and_clip_vanish(middle: str, reason: str | None) -> None:
    source = convolved(middle, low=np.asarray(-1, np.float32), six=np.asarray(6, np.float32))
    name = "node_r" if "r = " in middle else "node_y"
    assert obstacle(source.graph.node(name), CPU) == reason


def test_rule_4_a_graph_output_is_read_elsewhere() -> None:
    source = convolved("y = Relu(c)")
    source.graph.outputs.append(source.graph.node("node_c").outputs[0])
    found = obstacle(source.graph.node("node_y"), CPU)
    assert found == "the value in front of it is read elsewhere too"


@pytest.mark.parametrize(
    ("call", "bounds"),
    [
        ("Relu(c)", (0.0, math.inf)),
        ("Clip(c)", (-math.inf, math.inf)),
        ("Clip(c, low)", (-1.0, math.inf)),
        ("Clip(c, , six)", (-math.inf, 6.0)),
        ("Clip(c, low, six)", (-1.0, 6.0)),
    ],
)
def test_bounds_of_clip(call: str, bounds: tuple[float, float]) -> None:
    source = convolved(
        f"y = {call}", low=np.full((1,), -1, np.float32), six=np.full((1,), 6, np.float32)
    )
    assert clip_bounds(source.graph.node("node_y")) == bounds


def test_data_inputs_are_all_or_those_named() -> None:
    add = node("y", "f (float[2] x) => (float[2] y) { y = Add(x, x) }")
    assert data_positions(add, CPU.ops["Add"]) == [0, 1]
    assert data_positions(convolved("y = Relu(c)").graph[0], CPU.ops["Conv"]) == [0]


def test_work_of_a_convolution() -> None:
    source = build(
        """f (float[1,4,8,8] x, float[6,2,3,3] w) => (float[1,6,6,6] y) {
            y = Conv<group = 2>(x, w) }""",
        w=rng_weight(6, 2, 3, 3),
    )
    shapes = {"x": (1, 4, 8, 8), "y": (1, 6, 6, 6)}
    work = work_of(source.graph[0], shapes)
    assert (work.macs, work.outputs, work.patches) == (216 * 18, 216, 36 * 36)
    assert work_of(source.graph[0], {}).macs == 0
    assert kernel_kind(source.graph[0]) == "grouped"


def test_work_of_a_product_counts_the_inner_length() -> None:
    source = build(
        "f (float[1,5,8] x, float[8,6] w) => (float[1,5,6] y) { y = MatMul(x, w) }",
        w=rng_weight(8, 6),
    )
    work = work_of(source.graph[0], {"x": (1, 5, 8), "y": (1, 5, 6)})
    assert (work.macs, work.outputs, work.patches) == (240, 30, 48)
    assert kernel_kind(source.graph[0]) == "matmul"


def test_work_of_a_pool_counts_what_goes_in_and_out() -> None:
    source = convolved("y = MaxPool<kernel_shape = [2,2]>(c)")
    work = work_of(source.graph.node("node_y"), {"c": (1, 3, 8, 8), "y": (1, 3, 7, 7)})
    assert (work.macs, work.outputs, work.patches) == (0, 147, 192)
    assert kernel_kind(source.graph.node("node_y")) == "MaxPool"
