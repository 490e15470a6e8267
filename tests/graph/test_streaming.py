from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxq.graph import streaming
from onnxq.graph.io import fingerprint, load, save, to_bytes
from onnxq.graph.streaming import write_model
from tests.passes.rewrite.building import build, rng_weight
from tests.support import assert_same_function

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def _all_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_STREAMED", 0)
    monkeypatch.setattr(streaming, "_LARGE", 100)


def _model() -> ir.Model:
    return build(
        """f (float[1,20] x, float[20,30] a, float[30,20] b, float[20] k) => (float[1,20] y) {
            h = MatMul(x, a)
            m = MatMul(h, b)
            y = Add(m, k) }""",
        a=rng_weight(20, 30),
        b=rng_weight(30, 20, seed=1),
        k=rng_weight(20),
    )


def _written(model: ir.Model) -> bytes:
    file = io.BytesIO()
    write_model(model.clone(), file)
    return file.getvalue()


@pytest.mark.usefixtures("_all_is_large")
def test_large_weights_are_written_behind_the_rest() -> None:
    model = _model()
    data = _written(model)
    onnx.checker.check_model(data, full_check=True)
    back = load(data)
    assert list(back.graph.initializers) == ["k", "a", "b"]
    assert_same_function(model, back)


@pytest.mark.usefixtures("_all_is_large")
def test_equal_models_give_equal_bytes() -> None:
    assert _written(_model()) == _written(_model())


@pytest.mark.usefixtures("_all_is_large")
def test_weights_in_a_file_are_taken_in(tmp_path: Path) -> None:
    model = _model()
    path = tmp_path / "external.onnx"
    save(model, path, external_above=0)
    outside = load(path)
    assert isinstance(outside.graph.initializers["a"].const_value, ir.ExternalTensor)
    inside = load(_written(outside))
    weight = inside.graph.initializers["a"].const_value
    assert weight is not None
    np.testing.assert_array_equal(weight.numpy(), rng_weight(20, 30))


def test_a_small_model_is_written_in_one_piece() -> None:
    model = _model()
    assert _written(model) == to_bytes(model)
    assert fingerprint(load(_written(model))) == fingerprint(model)
