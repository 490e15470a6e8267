from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.errors import ModelError
from onnxq.graph.io import load, save
from onnxq.runtime import lend, session
from onnxq.runtime.lend import lend_weights
from onnxq.runtime.session import make_session
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _all_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LENT_BYTES", 0)
    monkeypatch.setattr(lend, "_LEAST", 512)


def _model() -> ir.Model:
    return build(
        """f (float[1,20] x, bool c, float[20,30] a, float[30] k) => (float[1,30] y) {
            h = MatMul(x, a)
            y = If (c) <
                then_branch = g () => (float[1,30] t) { t = Add(h, k) },
                else_branch = e () => (float[1,30] f) { f = Relu(h) }
            > }""",
        a=rng_weight(20, 30),
        k=rng_weight(30),
    )


def _feeds() -> dict[str, np.ndarray]:
    return {"x": rng_weight(1, 20, seed=3), "c": np.array(True)}


@pytest.mark.parametrize("optimize", [False, True])
def test_arrays_are_lent(optimize: bool) -> None:
    model = _model()
    assert list(lend_weights(model).arrays) == ["a"]
    found = make_session(model, optimize=optimize).run(_feeds())
    np.testing.assert_allclose(found["y"], run(model, _feeds())["y"], rtol=1e-6)


def test_files_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    save(_model(), path, external_above=0)
    model = load(path)
    lent = lend_weights(model)
    assert lent.folder == tmp_path.resolve()
    assert lent.arrays == {}
    found = make_session(model, optimize=False).run(_feeds())
    np.testing.assert_allclose(found["y"], run(_model(), _feeds())["y"], rtol=1e-6)


def test_files_and_arrays_together(tmp_path: Path) -> None:
    save(_model(), tmp_path / "m.onnx", external_above=0)
    chain = build(
        """f (float[1,20] x, float[20,30] a, float[30,20] b) => (float[1,20] y) {
            h = MatMul(x, a)
            y = MatMul(h, b) }""",
        a=rng_weight(20, 30),
        b=rng_weight(30, 20),
    )
    expected = run(chain, feeds_for(chain))["y"]
    weight = load(tmp_path / "m.onnx").graph.initializers["a"].const_value
    assert isinstance(weight, ir.ExternalTensor)
    chain.graph.initializers["a"].const_value = weight
    lent = lend_weights(chain)
    assert list(lent.arrays) == ["b"]
    found = make_session(chain, optimize=False).run(feeds_for(chain))
    np.testing.assert_allclose(found["y"], expected, rtol=1e-6)


def test_what_does_not_fit_a_protobuf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_MESSAGE_BYTES", 100)
    with pytest.raises(ModelError, match="too much for one protobuf"):
        make_session(_model())
