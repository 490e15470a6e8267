from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.graph.half_io import with_half_io
from onnxq.graph.saving import fingerprint
from onnxq.graph.spec import violations_qdq
from onnxq.passes.lower.half import LowerToHalf
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import feeds_for, run

HALF = ir.DataType.FLOAT16


def _chain(half: list[str]) -> ir.Model:
    model = build(
        """f (float[2,4] x, float[4,4] w) => (float[2,4] y, float[2,4] z) {
            a = MatMul(x, w)
            y = Relu(a)
            z = Tanh(y) }""",
        w=rng_weight(4, 4),
    )
    return LowerToHalf(QuantPlan(half=frozenset(half)))(model).model


def _checked(model: ir.Model) -> ir.Model:
    before = fingerprint(model)
    made = with_half_io(model)
    assert fingerprint(model) == before
    assert violations_qdq(made) == []
    borders = (*made.graph.inputs, *made.graph.outputs)
    assert [value.dtype for value in borders] == [HALF] * len(borders)
    names = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
    assert [value.name for value in borders] == names
    feed = feeds_for(model)
    wanted, found = run(model, feed), run(made, {k: v.astype(np.float16) for k, v in feed.items()})
    for name, array in wanted.items():
        assert found[name].dtype == np.float16
        np.testing.assert_allclose(found[name].astype(np.float32), array, atol=0.01)
    return made


def test_casts_at_the_border_go() -> None:
    made = _checked(_chain(["node_a", "node_y", "node_z"]))
    assert ops(made) == ["MatMul", "Relu", "Tanh"]


def test_what_is_float_within_gets_casts() -> None:
    made = _checked(_chain([]))
    assert ops(made).count("Cast") == 3


@pytest.mark.parametrize("half", [["node_a"], ["node_z"], ["node_a", "node_z"], ["node_y"]])
def test_any_mixture_keeps_its_function(half: list[str]) -> None:
    _checked(_chain(half))


def test_integers_stay() -> None:
    model = build("f (int64[2] i, float[2,2] x) => (float[2,2] y) { y = Gather(x, i) }")
    made = with_half_io(model)
    assert [value.dtype for value in made.graph.inputs] == [ir.DataType.INT64, HALF]
