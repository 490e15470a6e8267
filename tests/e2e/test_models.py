"""Models of many forms, from text to a result that runs at every optimization level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import onnxq
from onnxq.graph.spec import violations_qdq
from tests.e2e.networks import classifier, detector, he, images, integer_heavy
from tests.passes.rewrite.building import build
from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.report.result import Result

    Feeds = Mapping[str, npt.NDArray[Any]]


def proven(source: ir.Model, data: Feeds, feeds: Feeds, least_db: float = 30) -> Result:
    """Optimizes with all contracts checked and compares the result with the float model."""
    made = onnxq.optimize(source, data, threads=1, check=True)
    assert violations_qdq(made.model) == []
    assert not [row for row in made.trace if row.rolled_back]
    wanted = run(source, feeds)
    for level in ("off", "all"):
        found = run(made.model, feeds, level)
        assert list(found) == list(wanted)
        for name, array in wanted.items():
            assert found[name].shape == array.shape
            assert found[name].dtype == array.dtype
            noise = np.square(array - found[name], dtype=np.float64).sum()
            ratio = np.square(array, dtype=np.float64).sum() / max(noise, 1e-30)
            assert 10 * np.log10(ratio) > least_db, (name, level)
    return made


@pytest.mark.parametrize("batch", [1, 5])
def test_a_dynamic_batch_stays_dynamic(batch: int) -> None:
    made = proven(classifier(), {"x": images()}, {"x": images(batch, seed=3)})
    assert integer_heavy(made.model) == 2


def test_a_fixed_batch_above_one_is_filled_with_samples() -> None:
    made = proven(classifier("4"), {"x": images(16)}, {"x": images(4, seed=3)})
    assert integer_heavy(made.model) == 2
    assert made.fidelity.samples * 4 == 4


def test_every_output_is_judged() -> None:
    source = classifier(extra="z = Sigmoid(y)", outputs=", float[N,10] z")
    made = proven(source, {"x": images()}, {"x": images(2, seed=3)})
    assert set(made.fidelity.sqnr) == {"y", "z"}
    assert made.fidelity.agreement is None


def test_an_output_that_is_read_inside_too() -> None:
    source = classifier(outputs=", float[N,64,8,8] r2")
    made = proven(source, {"x": images()}, {"x": images(2, seed=3)})
    assert set(made.fidelity.sqnr) == {"y", "r2"}
    assert integer_heavy(made.model) >= 1


def test_an_output_that_is_an_integer_is_left_alone() -> None:
    source = classifier(extra="z = ArgMax<axis=1, keepdims=0>(y)", outputs=", int64[N] z")
    made = onnxq.optimize(source, {"x": images()}, threads=1)
    assert set(made.fidelity.sqnr) == {"y"}
    found = run(made.model, {"x": images(8, seed=3)}, "all")
    np.testing.assert_array_equal(found["z"], found["y"].argmax(axis=1))


def test_several_inputs() -> None:
    source = build(
        """f (float[N,3,16,16] x, float[N,64,8,8] add, float[64,3,3,3] w1, float[64,64,3,3] w2,
              float[64,64,3,3] w3) => (float[N,64,8,8] y) {
            c1 = Conv<pads=[1,1,1,1]>(x, w1)
            r1 = Relu(c1)
            c2 = Conv<pads=[1,1,1,1], strides=[2,2]>(r1, w2)
            s = Add(c2, add)
            r2 = Relu(s)
            y = Conv<pads=[1,1,1,1]>(r2, w3) }""",
        w1=he(64, 3, 3, 3),
        w2=he(64, 64, 3, 3, seed=1),
        w3=he(64, 64, 3, 3, seed=2),
    )
    other = np.random.default_rng(1).normal(size=(16, 64, 8, 8)).astype(np.float32)
    data = {"x": images(), "add": other}
    made = proven(source, data, {"x": images(3, seed=3), "add": other[:3]})
    assert integer_heavy(made.model) == 2


def test_an_if_stays_float_and_keeps_its_branches() -> None:
    source = classifier(
        extra="""
            m = ReduceMax<keepdims=0>(r2)
            zero = Constant<value_float=1.5>()
            big = Greater(m, zero)
            z = If(big) <then_branch = a () => (float[N,64,8,8] p) { p = Sigmoid(r2) },
                         else_branch = b () => (float[N,64,8,8] q) { q = Relu(r2) }>""",
        outputs=", float[N,64,8,8] z",
    )
    made = proven(source, {"x": images()}, {"x": images(2, seed=3)})
    assert "If" in {node.op_type for node in made.model.graph}
    assert integer_heavy(made.model) >= 1
    refused = [note.text for note in made.notes if note.source == "correct-bias"]
    assert refused == ["layers cannot be run one by one around If and Loop"]


def test_a_model_without_anything_to_quantize() -> None:
    source = build("f (float[N,4] x) => (float[N,4] y) { y = Sigmoid(x) }")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    made = proven(source, {"x": x}, {"x": x}, least_db=100)
    assert made.integer_share == 0


def test_a_single_small_layer_stays_float_and_says_why() -> None:
    source = build(
        "f (float[N,4] x, float[4,2] w) => (float[N,2] y) { y = MatMul(x, w) }", w=he(4, 2)
    )
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    made = proven(source, {"x": x}, {"x": x}, least_db=100)
    assert [node.node for node in made.stayed_float] == ["node_y"]
    assert any("nothing runs on integers" in warning for warning in made.warnings)


def test_scores_beside_pixels_survive() -> None:
    source = detector()
    made = onnxq.optimize(source, {"x": images(64)}, threads=1, check=True)
    real, found = [], []
    for picture in images(8, seed=3):
        real.append(run(source, {"x": picture[None]}, "all")["y"])
        found.append(run(made.model, {"x": picture[None]}, "all")["y"])
    error = np.abs(np.concatenate(real) - np.concatenate(found))
    assert np.concatenate(real)[:, :4].max() > 500
    assert np.ptp(np.concatenate(real)[:, 4:]) > 0.3
    assert error[:, 4:].max() < 0.02
    assert error[:, :4].max() < 0.05 * np.concatenate(real)[:, :4].max()
    assert integer_heavy(made.model) == 5


def test_the_float_tail_of_a_detector_is_reported() -> None:
    made = onnxq.optimize(detector(), {"x": images(8)}, threads=1)
    reasons = {node.node: node.reason for node in made.stayed_float}
    assert {"node_pixels", "node_scores", "node_y"} <= set(reasons)
    assert reasons["node_y"] == "output tail: nothing heavy behind it"
