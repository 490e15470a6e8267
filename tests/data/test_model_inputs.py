from __future__ import annotations

import numpy as np
import pytest

from onnxq.data.base import InputSpec
from onnxq.data.model_inputs import input_specs
from onnxq.errors import ModelError
from tests.passes.rewrite.building import build
from tests.support import model


def test_every_input_says_name_type_and_shape() -> None:
    source = model(
        """f (float[N,3,16,W] x, uint8[1] p, int64 n) => (float[A,B,C,D] y) { y = Relu(x) }"""
    )
    assert input_specs(source) == [
        InputSpec("x", np.dtype("float32"), (None, 3, 16, None)),
        InputSpec("p", np.dtype("uint8"), (1,)),
        InputSpec("n", np.dtype("int64"), ()),
    ]


def test_weights_are_no_inputs() -> None:
    source = build("f (float[2] x, float[2] w) => (float[2] y) { y = Mul(x, w) }", w=[1.0, 2.0])
    assert [spec.name for spec in input_specs(source)] == ["x"]


def test_an_input_with_a_default_takes_no_data() -> None:
    source = build("f (float[2] x, float[2] w) => (float[2] y) { y = Mul(x, w) }", w=[1.0, 2.0])
    weight = source.graph.initializers["w"]
    source.graph.inputs.append(weight)
    assert [spec.name for spec in input_specs(source)] == ["x"]


@pytest.mark.parametrize("what", ["shape", "type"])
def test_an_input_that_states_too_little_is_refused(what: str) -> None:
    source = model("f (float[2] x) => (float[2] y) { y = Relu(x) }")
    (value,) = source.graph.inputs
    if what == "shape":
        value.shape = None
    else:
        value.type = None
    with pytest.raises(ModelError, match="input 'x' states no type or shape; export it again"):
        input_specs(source)
