from __future__ import annotations

import pytest
from onnx_ir.passes.common import ShapeInferencePass

from onnxq.export.scales import scales
from onnxq.graph.integer_io import with_integer_io
from tests.support import model


def test_borders_tell_what_codes_stand_for() -> None:
    graph = model("""f (float[2, 3] x) => (float[2, 3] y, uint8[2, 3] u)
    <float s = {0.5}, uint8 z = {7}, float[3] many = {0.25, 0.5, 0.75}> {
        q = QuantizeLinear (x, s, z)
        wide = Cast <to = 6> (q)
        y = DequantizeLinear <axis = -1> (wide, many)
        u = QuantizeLinear (x, s)
    }""")

    assert scales(graph) == {
        "q": {"scale": 0.5, "zero_point": 7},
        "wide": {"scale": [0.25, 0.5, 0.75], "zero_point": 0, "axis": -1},
        "u": {"scale": 0.5, "zero_point": 0},
    }


def test_quantized_operators_tell_of_inputs_and_output() -> None:
    graph = model("""f (uint8[1, 2] a) => (uint8[1, 2] y)
    <float s = {0.5}, uint8 z = {7}, int8[2, 2] b = {1, 2, 3, 4}, float t = {0.25},
     int8 o = {0}, float v = {2}> {
        y = QLinearMatMul (a, s, z, b, t, o, v, z)
    }""")

    assert scales(graph) == {
        "a": {"scale": 0.5, "zero_point": 7},
        "b": {"scale": 0.25, "zero_point": 0},
        "y": {"scale": 2.0, "zero_point": 7},
    }


@pytest.mark.parametrize("node", ["y = Cast <to = 1> (q)", "y = DequantizeLinear (q, q)"])
def test_what_nobody_tells_is_left_out(node: str) -> None:
    assert scales(model(f"f (int32[2] q) => (float[2] y) {{ {node} }}")) == {}


def test_metadata_tells_of_inputs_and_outputs() -> None:
    source = model(
        """f (float[2, 3] x) => (float[2, 3] y)
        <float s = {0.5}, uint8 z = {7}, float[3] many = {0.25, 0.5, 0.75}> {
            q = QuantizeLinear (x, s, z)
            wide = Cast <to = 6> (q)
            y = DequantizeLinear <axis = 1> (wide, many)
        }"""
    )
    ShapeInferencePass()(source)

    assert scales(with_integer_io(source)) == {
        "x": {"scale": 0.5, "zero_point": 7},
        "y": {"scale": [0.25, 0.5, 0.75], "zero_point": 0, "axis": 1},
    }
