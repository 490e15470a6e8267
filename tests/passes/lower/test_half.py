from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.contract import structural_fault
from onnxq.graph.saving import fingerprint
from onnxq.graph.spec import violations_qdq
from onnxq.passes.lower.half import LowerToHalf
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    from collections.abc import Iterable

HALF, FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT


def lowered(source: ir.Model, half: Iterable[str]) -> ir.Model:
    before = fingerprint(source)
    made = LowerToHalf(QuantPlan(half=frozenset(half)))(source).model
    assert fingerprint(source) == before
    assert violations_qdq(made) == []
    assert structural_fault(source, made) is None
    feed = feeds_for(source)
    for level in ("off", "all"):
        for name, wanted in run(source, feed).items():
            found = run(made, feed, level)[name]
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=0.01, atol=0.01)
    return made


def chain() -> ir.Model:
    return build(
        """f (float[2,4] x, float[4,4] w, float[4] b) => (float[2,4] y) {
            a = MatMul(x, w)
            c = Add(a, b)
            d = Relu(c)
            y = Tanh(d) }""",
        w=rng_weight(4, 4),
        b=rng_weight(4),
    )


def types(model: ir.Model) -> dict[str, ir.DataType | None]:
    return {str(out.name): out.dtype for node in model.graph for out in node.outputs}


def test_a_whole_model_gets_one_cast_at_either_end() -> None:
    made = lowered(chain(), ["node_a", "node_c", "node_d", "node_y"])
    assert ops(made) == ["Cast", "MatMul", "Add", "Relu", "Tanh", "Cast"]
    weights = {v.dtype for v in made.graph.initializers.values()}
    assert weights == {HALF}
    assert [v.dtype for v in (*made.graph.inputs, *made.graph.outputs)] == [FLOAT, FLOAT]
    assert made.graph.outputs[0].name == "y"


def test_a_float_part_in_the_middle_has_casts_around_it() -> None:
    made = lowered(chain(), ["node_a", "node_y"])
    assert ops(made) == ["Cast", "MatMul", "Cast", "Add", "Relu", "Cast", "Tanh", "Cast"]
    assert types(made)["a"] == HALF
    assert types(made)["c"] == FLOAT
    assert made.graph.initializers["b"].dtype == FLOAT


def test_a_value_is_cast_once_for_all_readers() -> None:
    model = build(
        """f (float[2,4] x) => (float[2,4] y, float[2,4] z, float[2,4] v) {
            a = Relu(x)
            y = Tanh(a)
            z = Sigmoid(a)
            v = Neg(a) }"""
    )
    made = lowered(model, ["node_y", "node_z"])
    assert ops(made).count("Cast") == 3
    made = lowered(model, ["node_a"])
    assert ops(made).count("Cast") == 2


def test_a_weight_that_float_nodes_read_too_is_stored_twice() -> None:
    model = build(
        """f (float[2,4] x, float[4,4] w) => (float[2,4] y, float[2,4] z) {
            y = MatMul(x, w)
            z = MatMul(x, w) }""",
        w=rng_weight(4, 4),
    )
    made = lowered(model, ["node_y"])
    assert sorted(str(v.dtype) for v in made.graph.initializers.values()) == ["FLOAT", "FLOAT16"]


def test_an_output_that_is_read_within_keeps_its_name_and_type() -> None:
    model = build(
        """f (float[2,4] x) => (float[2,4] a, float[2,4] y) {
            a = Relu(x)
            y = Tanh(a) }"""
    )
    made = lowered(model, ["node_a", "node_y"])
    assert [v.name for v in made.graph.outputs] == ["a", "y"]
    assert [v.dtype for v in made.graph.outputs] == [FLOAT, FLOAT]
    assert ops(made).count("Cast") == 3


def test_shapes_are_asked_of_half_values_without_a_cast() -> None:
    model = build(
        """f (float[N,4] x) => (float[N,4] y) {
            a = Relu(x)
            s = Shape(a)
            r = Reshape(a, s)
            y = Tanh(r) }"""
    )
    made = lowered(model, ["node_a", "node_r", "node_y"])
    assert ops(made).count("Cast") == 2


def test_scales_of_a_resize_stay_float() -> None:
    model = build(
        """f (float[1,2,4,4] x, float[4] s) => (float[1,2,8,8] y) {
            y = Resize<mode="nearest">(x, , s) }""",
        s=np.array([1, 1, 2, 2], np.float32),
    )
    made = lowered(model, ["node_y"])
    assert made.graph.initializers["s"].dtype == FLOAT


def test_nothing_planned_changes_nothing() -> None:
    model = chain()
    assert fingerprint(lowered(model, [])) == fingerprint(model)
