from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.rewrite.fold_affine_into_batchnorm import FoldAffineIntoBatchnormPass
from tests.passes.rewrite.building import build, ops, rewritten, rng_weight
from tests.support import feeds_for

_NORM = {
    "g": rng_weight(4),
    "b": rng_weight(4, seed=1),
    "m": rng_weight(4, seed=2),
    "v": np.abs(rng_weight(4, seed=3)) + np.float32(0.1),
}
_INPUTS = "float[2,4,5,5] x, float[4] g, float[4] b, float[4] m, float[4] v, float k"


@pytest.mark.parametrize(
    "operation", ["Mul(h, k)", "Add(k, h)", "Sub(h, k)", "Sub(k, h)", "Div(h, k)"]
)
@pytest.mark.parametrize("shape", [(), (4, 1, 1)], ids=["one", "row"])
def test_folds(operation: str, shape: tuple[int, ...]) -> None:
    graph = build(
        f"""f ({_INPUTS}) => (float[2,4,5,5] y) {{
            h = BatchNormalization(x, g, b, m, v)
            y = {operation} }}""",
        **_NORM,
        k=rng_weight(*shape) if shape else 2.5,
    )
    outcome = rewritten(FoldAffineIntoBatchnormPass(), graph)
    assert outcome.ops == ["BatchNormalization"]


def test_a_shared_scale_is_copied() -> None:
    graph = build(
        f"""f ({_INPUTS}) => (float[2,4,5,5] y, float[2,4,5,5] z) {{
            h = BatchNormalization(x, g, b, m, v)
            y = Mul(h, k)
            z = BatchNormalization(x, g, b, m, v) }}""",
        **_NORM,
        k=2.0,
    )
    assert rewritten(FoldAffineIntoBatchnormPass(), graph).modified


def test_rule_1_training_mode_stays() -> None:
    graph = build(
        f"""f ({_INPUTS}) => (float[2,4,5,5] y) {{
            h, n, o = BatchNormalization<training_mode=1>(x, g, b, m, v)
            y = Mul(h, k) }}""",
        **_NORM,
        k=2.0,
    )
    outcome = rewritten(FoldAffineIntoBatchnormPass(), graph)
    assert outcome.reasons == ["the BatchNormalization is in training mode"]


def test_rule_1_a_fed_scale_stays() -> None:
    weights = {name: array for name, array in _NORM.items() if name != "g"}
    graph = build(
        f"""f ({_INPUTS}) => (float[2,4,5,5] y) {{
            h = BatchNormalization(x, g, b, m, v)
            y = Mul(h, k) }}""",
        **weights,
        k=2.0,
    )
    outcome = rewritten(FoldAffineIntoBatchnormPass(), graph, feeds_for(graph))
    assert outcome.reasons == ["scale, bias or rank of the BatchNormalization is not known"]


def test_rule_2_a_value_read_twice_stays() -> None:
    graph = build(
        f"""f ({_INPUTS}) => (float[2,4,5,5] y, float[2,4,5,5] h) {{
            h = BatchNormalization(x, g, b, m, v)
            y = Mul(h, k) }}""",
        **_NORM,
        k=2.0,
    )
    outcome = rewritten(FoldAffineIntoBatchnormPass(), graph)
    assert outcome.reasons == ["the output of node_h is also read elsewhere"]


def test_rule_3_another_axis_stays() -> None:
    graph = build(
        f"""f ({_INPUTS}) => (float[2,4,5,5] y) {{
            h = BatchNormalization(x, g, b, m, v)
            y = Mul(h, k) }}""",
        **_NORM,
        k=rng_weight(5),
    )
    outcome = rewritten(FoldAffineIntoBatchnormPass(), graph)
    assert outcome.reasons == ["its constant [5] is not one number per channel"]
    assert ops(graph) == ["BatchNormalization", "Mul"]


def test_the_prior_moves_along() -> None:
    prior = {"h": (np.ones(4, np.float32), np.full(4, 2.0, np.float32))}
    graph = build(
        f"""f ({_INPUTS}) => (float[2,4,5,5] y) {{
            h = BatchNormalization(x, g, b, m, v)
            y = Mul(h, k) }}""",
        **_NORM,
        k=-3.0,
    )
    FoldAffineIntoBatchnormPass(prior)(graph)
    np.testing.assert_array_equal(prior["y"], [np.full(4, -3.0), np.full(4, 6.0)])
