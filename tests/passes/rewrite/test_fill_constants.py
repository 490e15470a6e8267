from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.rewrite.fill_constants import FillConstants
from tests.support import assert_same_function, model

FILL = "ConstantOfShape<value = float[1] {0.5}>"


def test_fires() -> None:
    text = f"""f (float[2,3] x) => (float[2,3] y) <int64[2] s = {{2,3}}>
    {{ c = {FILL}(s) y = Add(x, c) }}"""
    after = model(text)
    rewrite = FillConstants()
    assert rewrite(after).modified
    assert [node.op_type for node in after.graph] == ["Add"]
    assert_same_function(model(text), after)
    assert not rewrite(after).modified


def test_default_value_is_zero() -> None:
    text = (
        "f (float[2] x) => (float[2] y) <int64[1] s = {2}> { c = ConstantOfShape(s) y = Add(x, c) }"
    )
    after = model(text)
    FillConstants()(after)
    tensor = after.graph.initializers["c"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), np.zeros(2, np.float32), strict=True)


def test_weight_takes_no_memory() -> None:
    after = model(
        "f (float[1,10000] x) => (float[1,20000] y) <int64[2] s = {10000,20000}> "
        f"{{ w = {FILL}(s) y = MatMul(x, w) }}"
    )
    assert FillConstants()(after).modified
    tensor = after.graph.initializers["w"].const_value
    assert tensor is not None
    assert tensor.shape.numpy() == (10000, 20000)
    assert tensor.numpy().base is not None
    assert tensor.numpy().strides == (0, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            (
                "f (float[2] x) => (float[N,M] y) <int64[2] s = {2000,2000}> "
                f"{{ c = {FILL}(s) t = Abs(c) y = Mul(t, t) }}"
            ),
            "4000000 numbers",
        ),
        (f"f (int64[2] s) => (float[N,M] y) {{ c = {FILL}(s) y = Abs(c) }}", "computed"),
        (f"f (float[2] x) => (float[2] y) <int64[1] s = {{2}}> {{ y = {FILL}(s) }}", "output"),
    ],
    ids=["large", "computed shape", "graph output"],
)
def test_must_not_fire(text: str, reason: str) -> None:
    after = model(text)
    rewrite = FillConstants()
    assert not rewrite(after).modified
    assert [reason in note.text for note in rewrite.take_notes()] == [True]


def test_fires_in_a_subgraph() -> None:
    text = f"""f (float[2] x, bool c) => (float[2] y) <int64[1] s = {{2}}> {{
        y = If(c) <
            then_branch = t () => (float[2] p) {{ k = {FILL}(s) p = Mul(x, k) }},
            else_branch = e () => (float[2] q) {{ q = Neg(x) }}>
    }}"""
    after = model(text)
    assert FillConstants()(after).modified
    assert_same_function(model(text), after)
