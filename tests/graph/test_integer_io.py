"""Models that take and give codes: the same codes as behind the borders, and what they mean."""

from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from onnxq.errors import ModelError
from onnxq.graph.integer_io import KEY, with_integer_io
from onnxq.graph.spec_integer import prove_integer
from tests.support import model, run

CONSTANTS = "<float s = {0.5}, uint8 z = {3}, float t = {2.0}, uint8 u = {7}, int32 k = {2}>"
BODY = "q = QuantizeLinear(x, s, z) w = Cast<to=6>(q) h = Div(w, k) c = Cast<to=2>(h)"


def source(body: str) -> ir.Model:
    made = model(f"f (float[1,4] x) => (float[1,4] y) {CONSTANTS} {{ {body} }}")
    for node in made.graph:
        node.name = f"the_{node.outputs[0].name}"
    ShapeInferencePass()(made)
    return made


def test_codes_go_in_and_out() -> None:
    given = source(f"{BODY} y = DequantizeLinear(c, t, u)")
    made = with_integer_io(given)
    assert {v.dtype for v in (*made.graph.inputs, *made.graph.outputs)} == {ir.DataType.UINT8}
    assert prove_integer(made).violations == ()
    meanings = json.loads(made.metadata_props[KEY])
    assert meanings == {
        "x": {"type": "uint8", "scale": 0.5, "zero_point": 3},
        "y": {"type": "uint8", "scale": 2.0, "zero_point": 7},
    }
    x = np.array([[-1.5, 0, 3, 60]], np.float32)
    codes = np.clip(np.rint(x / 0.5) + 3, 0, 255).astype(np.uint8)
    found = run(made, {"x": codes})["y"]
    np.testing.assert_array_equal((found - 7.0) * 2, run(given, {"x": x})["y"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{BODY} d = DequantizeLinear(c, t, u) y = Sqrt(d)", r"output 'y' .* 'the_y' \(Sqrt\)"),
        (
            f"{BODY} d = DequantizeLinear(c, t, u) a = Sqrt(x) y = Add(d, a)",
            r"input 'x' .* 'the_a' \(Sqrt\)",
        ),
    ],
)
def test_float_at_the_borders_is_named(body: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        with_integer_io(source(body))
