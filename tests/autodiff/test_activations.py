"""Functions of one value, against differences in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from tests.autodiff.checking import assert_gradients, assert_second_gradients, gradients
from tests.passes.rewrite.building import build

each = settings(deadline=None, max_examples=8)

ALIKE = (
    "Abs Cos Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Mish Neg Relu Selu"
    " Sigmoid Sin Softplus Softsign Tanh ThresholdedRelu"
)
POSITIVE = ["Log", "Reciprocal", "Sqrt"]


@pytest.mark.parametrize("op_type", ALIKE.split())
def test_a_function_of_one_value(op_type: str) -> None:
    model = build(f"f (float[2,3,4] x) => (float[2,3,4] y) {{ y = {op_type}(x) }}")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


@pytest.mark.parametrize("op_type", POSITIVE)
def test_a_function_of_positive_values(op_type: str) -> None:
    model = build(f"f (float[2,3] x) => (float[2,3] y) {{ z = Exp(x) y = {op_type}(z) }}")

    assert_gradients(model, ["x", "z"])
    assert_second_gradients(model, ["x"])


@each
@given(alpha=st.sampled_from([-0.5, 0.0, 0.25, 1.0, 2.0]))
@pytest.mark.parametrize("op_type", ["LeakyRelu", "Elu", "HardSigmoid", "ThresholdedRelu"])
def test_any_alpha(op_type: str, alpha: float) -> None:
    model = build(f"f (float[2,9] x) => (float[2,9] y) {{ y = {op_type}<alpha={alpha}>(x) }}")

    assert_gradients(model, ["x"])


def test_swish_with_alpha() -> None:
    header = '<ir_version: 11, opset_import: ["": 24]>'
    model = build(f"{header} f (float[2,9] x) => (float[2,9] y) {{ y = Swish<alpha=1.7>(x) }}")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_gelu_by_tanh() -> None:
    text = 'f (float[2,9] x) => (float[2,9] y) { y = Gelu<approximate="tanh">(x) }'

    assert_gradients(build(text), ["x"])
    assert_second_gradients(build(text), ["x"])


@pytest.mark.parametrize("bounds", ["lo, hi", "lo", ", hi"])
def test_clip_goes_to_the_input_or_to_the_bound(bounds: str) -> None:
    text = f"f (float[2,9] x, float lo, float hi) => (float[2,9] y) {{ y = Clip(x, {bounds}) }}"
    model = build(text, lo=np.float32(-0.4), hi=np.float32(0.6))

    assert_gradients(model, ["x", *(name for name in ("lo", "hi") if name in bounds)])


@each
@given(shape=st.sampled_from(["2,3,4", "3,1", "1", "3,4"]))
def test_prelu_with_broadcast_slopes(shape: str) -> None:
    model = build(f"f (float[2,3,4] x, float[{shape}] s) => (float[2,3,4] y) {{ y = PRelu(x, s) }}")

    assert_gradients(model, ["x", "s"])
    assert_second_gradients(model, ["x", "s"])


@pytest.mark.parametrize(("op_type", "slope"), [("Relu", 0.0), ("LeakyRelu", 0.01)])
def test_the_slope_at_the_corner_is_the_lower_one(op_type: str, slope: float) -> None:
    model = build(f"f (float[1] x) => (float[1] y) {{ y = {op_type}(x) }}")
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)

    found = vjp(model, ["x"])

    got = gradients(found, {"x": zero, found.cotangents["y"]: one})["x"]
    assert got == pytest.approx(slope)


def test_no_function_selects_with_where() -> None:
    body = "a = Relu(x) b = LeakyRelu(a) c = Clip(b, lo) d = HardSwish(c) y = Elu(d)"
    model = build(f"f (float[4] x, float lo) => (float[4] y) {{ {body} }}", lo=np.float32(0))

    assert "Where" not in {node.op_type for node in vjp(model, ["x"]).model.graph}
