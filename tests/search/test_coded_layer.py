from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.plan.quant_plan import QuantPlan, Use
from onnxq.plan.spec import IntType
from onnxq.plan.stored_weight import stored_weight
from onnxq.plan.target import load_target
from onnxq.search.coded_layer import CodedLayer, coded_layer
from tests.passes.plan.planning import build, context_for, plan_for
from tests.passes.rewrite.building import rng_weight

_USE = Use("node_y", 1)


def found(text: str, shape: tuple[int, ...], **weights: np.ndarray) -> CodedLayer | str | None:
    """The layer y of a model, which computes in float with a weight w stored in 4 bits."""
    model = build(text, w=rng_weight(*shape), **weights)
    node = model.graph.node("node_y")
    stored = stored_weight(node, IntType(4, signed=True))
    plan = QuantPlan(uses={_USE: stored}, float_nodes={"node_y": "because"})
    return coded_layer(node, plan)


def test_padding_by_the_size_of_the_output_is_told() -> None:
    model = build(
        """f (float[1,4,5,5] x, float[4,2,3,3] w) => (float[1,2,9,9] y) {
        y = ConvTranspose <strides = [2, 2], output_shape = [9, 9]> (x, w) }""",
        w=rng_weight(4, 2, 3, 3),
    )
    plan = plan_for(context_for(model, load_target("qnn")), AssignIntegers(weight_bits=4))

    assert coded_layer(model.graph[0], plan) == "it pads by the size of its output"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("(float[1,4,5,5] x, float[6,4,3,3] w) => (float[1,6,3,3] y) { y = Conv(x, w) }",
         (6, 4, 3, 3)),
        ("(float[2,4] x, float[4,3] w, float[3] b) => (float[2,3] y) { y = Gemm(x, w, b) }",
         (4, 3)),
        ("(float[2,4] x, float[4,3] w) => (float[2,3] y) { y = MatMul(x, w) }", (4, 3)),
    ],
)  # fmt: skip
def test_a_layer_in_float_with_a_stored_weight_reads_no_codes(
    text: str, shape: tuple[int, ...]
) -> None:
    bias = {"b": rng_weight(3)} if "float[3] b" in text else {}
    layer = found(f"f {text}", shape, **bias)

    assert isinstance(layer, CodedLayer)
    assert layer.real
    assert layer.read_by(QuantPlan()) is None
    assert layer.weight.shape == shape


@pytest.mark.parametrize(
    ("head", "body", "shape", "reason"),
    [
        ("float[2,4] x, float[4,3] w", "y = Gemm<alpha = 2.0>(x, w)", (4, 3),
         "it multiplies its product or its bias by a factor"),
        ("float[2,4] x, float[4,3] w, float[3] b", "y = Gemm<beta = 2.0>(x, w, b)", (4, 3),
         "it multiplies its product or its bias by a factor"),
        ("float[4,2] x, float[4,3] w", "y = Gemm<transA = 1>(x, w)", (4, 3),
         "Gemm transposes its input"),
        ("float[2,4] x, float[4,3] w", "b = ReduceSum(x) y = Gemm(x, w, b)", (4, 3),
         "the bias of Gemm is not constant"),
        ("float[1,4,5,5] x, float[4,3,2,2] w", "y = ConvTranspose<group = 2>(x, w)", (4, 3, 2, 2),
         "its groups share their scales"),
        ("float[2,4] x, float[4,4] w", "t = MatMul(x, w) y = MatMul(t, w)", (4, 4),
         "another layer reads its weight"),
    ],
)  # fmt: skip
def test_layers_in_float_that_cannot_be_rounded(
    head: str, body: str, shape: tuple[int, ...], reason: str
) -> None:
    rank = ",".join("ABCD"[: 4 if "Conv" in body else 2])
    bias = {"b": rng_weight(3)} if "float[3] b" in head else {}

    assert found(f"f ({head}) => (float[{rank}] y) {{ {body} }}", shape, **bias) == reason


def test_a_weight_that_stays_float_has_no_codes() -> None:
    model = build(
        "f (float[2,4] x, float[4,3] w) => (float[2,3] y) { y = MatMul(x, w) }", w=rng_weight(4, 3)
    )
    assert coded_layer(model.graph[0], QuantPlan(float_nodes={"node_y": "because"})) is None


def test_another_plan_of_the_weight_goes_where_the_old_one_is() -> None:
    layer = found("f (float[2,4] x, float[4,3] w) => (float[2,3] y) { y = MatMul(x, w) }", (4, 3))
    assert isinstance(layer, CodedLayer)
    other = replace(layer.plan, codes=np.zeros((4, 3), np.int32))
    stored, planned = QuantPlan(uses={_USE: layer.plan}), QuantPlan({"w": layer.plan})

    in_use, in_value = layer.with_weight(stored, other), layer.with_weight(planned, other)

    assert in_use.uses == {_USE: other}
    assert not in_use.values
    assert in_value.values == {"w": other}
    assert layer.weight_in(in_use) is layer.weight_in(in_value) is other
