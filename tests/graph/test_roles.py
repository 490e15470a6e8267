from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph import roles
from tests.passes.rewrite.building import build, rng_weight
from tests.support import model


def test_weights_and_activations_are_told_apart() -> None:
    graph = build(
        """f (float[2,3] x, int64[2] i, float[3,4] w, float[4] k) => (float[2,4] y) {
            m = MatMul(x, w)
            y = Add(m, k) }""",
        w=rng_weight(3, 4),
        k=rng_weight(4),
    ).graph
    x, w = graph[0].inputs
    assert [roles.is_constant(value) for value in (x, w, None)] == [False, True, False]
    assert [roles.is_activation(value) for value in (x, w, None)] == [True, False, False]
    assert roles.is_activation(graph[1].inputs[0])
    assert not roles.is_activation(graph.inputs[1])


def test_a_weight_that_a_caller_may_override_is_no_constant() -> None:
    source = model("f (float[2] x, float[2] w = {1.0, 2.0}) => (float[2] y) { y = Add(x, w) }")
    weight = source.graph[0].inputs[1]
    assert weight is not None
    weight.const_value = source.graph.initializers["w"].const_value
    assert not roles.is_constant(weight)


def test_an_attribute_that_is_missing_has_the_default() -> None:
    node = build(
        "f (float[1,2] x, float[2,3] w) => (float[1,3] y) { y = Gemm<alpha = 2.0>(x, w) }",
        w=rng_weight(2, 3),
    ).graph[0]
    assert roles.attribute(node, "alpha", 1.0) == 2.0
    assert roles.attribute(node, "beta", 1.0) == 1.0


@pytest.mark.parametrize(
    ("channels", "shape", "group", "kind"),
    [
        (16, (8, 16, 3, 3), 1, "dense"),
        (3, (8, 3, 3, 3), 1, "stem"),
        (4, (8, 4, 1, 1), 1, "stem"),
        (5, (8, 5, 1, 1), 1, "dense"),
        (8, (8, 1, 3, 3), 8, "depthwise"),
        (8, (16, 1, 3, 3), 8, "depthwise"),
        (8, (8, 4, 3, 3), 2, "grouped"),
        (1, (8, 1, 3, 3), 1, "stem"),
    ],
)
def test_convolutions_have_a_cost_class(
    channels: int, shape: tuple[int, ...], group: int, kind: str
) -> None:
    node = build(
        f"""f (float[1,{channels},8,8] x, float[{",".join(map(str, shape))}] w)
            => (float[1,{shape[0]},M,N] y) {{ y = Conv<group = {group}>(x, w) }}""",
        w=np.zeros(shape, np.float32),
    ).graph[0]
    assert roles.conv_kind(node) == kind


@pytest.mark.parametrize(
    ("call", "shape", "x", "axis"),
    [
        ("Conv(x, w)", "5,4,1", "1,4,6", 0),
        ("ConvTranspose(x, w)", "4,5,1", "1,4,6", 1),
        ("Gemm(x, w)", "4,5", "2,4", 1),
        ("Gemm<transB = 1>(x, w)", "5,4", "2,4", 0),
        ("MatMul(x, w)", "4,5", "1,2,4", 1),
        ("MatMul(x, w)", "3,4,5", "3,2,4", 2),
    ],
)
def test_output_channels_of_a_weight(call: str, shape: str, x: str, axis: int) -> None:
    dims = tuple(int(n) for n in shape.split(","))
    node = build(
        f"f (float[{x}] x, float[{shape}] w) => (float[*] y) {{ y = {call} }}".replace(
            "float[*]", "float[M" + ",N" * x.count(",") + "]"
        ),
        w=np.zeros(dims, np.float32),
    ).graph[0]
    assert roles.weight_channel_axis(node) == axis
    assert dims[axis] == 5


def test_reaching_follows_all_paths_and_counts_the_goals() -> None:
    graph = build(
        """f (float[2] x) => (float[2] y, float[2] z) {
            a = Neg(x)
            b = Abs(a)
            c = Exp(b)
            y = Relu(c)
            z = Tanh(a) }"""
    ).graph
    assert roles.reaches(graph, {"node_c": True, "node_z": False}) == {
        "node_a", "node_b", "node_c",
    }  # fmt: skip
    assert roles.reaches(graph, {}) == set()
