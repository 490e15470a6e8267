from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.rewrite.recognize_layernorm import RecognizeLayernormPass
from tests.passes.rewrite.building import build, rewritten, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

_SCALE_AND_BIAS = "g = Mul(n, w)\n y = Add(g, b)"
_SQUARES = {"pow": "q = Pow(d, t)", "mul": "q = Mul(d, d)"}
_QUOTIENTS = {"div": "n = Div(d, s)", "reciprocal": "i = Reciprocal(s)\n n = Mul(d, i)"}


def _body(square: str = "q = Pow(d, t)", quotient: str = "n = Div(d, s)", tail: str = "") -> str:
    return f"""m = ReduceMean(x, a)
        d = Sub(x, m)
        {square}
        v = ReduceMean(q, a)
        e = Add(v, c)
        s = Sqrt(e)
        {quotient}
        {tail or _SCALE_AND_BIAS}"""


def _graph(
    body: str, *, outputs: str = "float[2,5,8] y", axis: int = -1, **more: npt.ArrayLike
) -> ir.Model:
    weights: dict[str, npt.ArrayLike] = {
        "a": np.array([axis]),
        "t": 2.0,
        "c": 1e-5,
        "w": rng_weight(8),
        "b": rng_weight(8, seed=1),
    }
    return build(
        f"""f (float[2,5,8] x, int64[1] a, float t, float c, float w, float b)
            => ({outputs}) {{ {body} }}""",
        **{**weights, **more},
    )


@pytest.mark.parametrize("quotient", _QUOTIENTS.values(), ids=_QUOTIENTS)
@pytest.mark.parametrize("square", _SQUARES.values(), ids=_SQUARES)
@pytest.mark.parametrize("axis", [-1, 2])
def test_becomes_one_node(square: str, quotient: str, axis: int) -> None:
    graph = _graph(_body(square, quotient), axis=axis)
    assert rewritten(RecognizeLayernormPass(), graph).ops == ["LayerNormalization"]


def test_rule_4_without_scale_and_bias() -> None:
    graph = _graph(_body(tail="y = Relu(n)"))
    assert rewritten(RecognizeLayernormPass(), graph).ops == ["LayerNormalization", "Relu"]


def test_rule_4_a_bias_alone() -> None:
    graph = _graph(_body(tail="y = Add(b, n)"))
    assert rewritten(RecognizeLayernormPass(), graph).ops == ["LayerNormalization"]


def test_rule_4_a_scale_along_another_axis_stays_a_mul() -> None:
    graph = _graph(_body(tail="y = Mul(n, w)"), w=rng_weight(5, 1))
    assert rewritten(RecognizeLayernormPass(), graph).ops == ["LayerNormalization", "Mul"]


def test_rule_1_another_axis_stays() -> None:
    outcome = rewritten(RecognizeLayernormPass(), _graph(_body(), axis=1))
    assert outcome.reasons == ["its mean is not taken over the last axis alone"]


def test_rule_1_two_axes_stay() -> None:
    graph = _graph(_body(), a=np.array([1, 2]))
    assert not rewritten(RecognizeLayernormPass(), graph).modified


def test_rule_1_an_unknown_size_stays() -> None:
    graph = build(
        f"""f (float[2,5,D] x, int64[1] a, float t, float c) => (float[2,5,D] y) {{
            {_body(tail="y = Relu(n)")} }}""",
        a=np.array([-1]),
        t=2.0,
        c=1e-5,
    )
    outcome = rewritten(RecognizeLayernormPass(), graph)
    assert outcome.reasons == ["the size of the last axis is not known"]


def test_rule_2_another_exponent_stays() -> None:
    outcome = rewritten(RecognizeLayernormPass(), _graph(_body(), t=4.0))
    assert outcome.reasons == ["its epsilon or its exponent is not the constant expected"]


def test_rule_3_a_value_read_outside_stays() -> None:
    graph = _graph(_body(), outputs="float[2,5,8] y, float[2,5,8] d")
    outcome = rewritten(RecognizeLayernormPass(), graph)
    assert outcome.reasons == ["d is also read elsewhere"]


def test_the_normalized_value_may_be_the_graph_output() -> None:
    body = _body(quotient="y = Div(d, s)", tail=" ")
    assert rewritten(RecognizeLayernormPass(), _graph(body)).ops == ["LayerNormalization"]


def test_a_scaled_value_that_is_an_output_keeps_its_addition() -> None:
    graph = _graph(
        _body(tail="g = Mul(n, w)\n y = Add(g, b)"), outputs="float[2,5,8] g, float[2,5,8] y"
    )
    assert rewritten(RecognizeLayernormPass(), graph).ops == ["LayerNormalization", "Add"]
