"""Activation-aware equalization through the whole pipeline: outlier features behind a norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import onnxq
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.report.result import Result

WIDTH, LENGTH = 128, 64
OUTLIERS = [3, 40, 77, 110]


def block() -> ir.Model:
    """A norm and two layers; four features are sixty times as large, and read by small weights."""
    gain, offset = np.ones(WIDTH), rng_weight(WIDTH, seed=1) * 0.1
    first, second = rng_weight(WIDTH, 512, seed=2) / 11, rng_weight(512, WIDTH, seed=3) / 22
    gain[OUTLIERS] *= 60
    offset[OUTLIERS] *= 60
    first[OUTLIERS] /= 60
    return build(
        f"""f (float[N,{LENGTH},{WIDTH}] x, float[{WIDTH}] g, float[{WIDTH}] o,
               float[{WIDTH},512] w, float[512] b, float[512,{WIDTH}] v)
            => (float[N,{LENGTH},{WIDTH}] y) {{
            n = LayerNormalization(x, g, o)
            p = MatMul(n, w)
            q = Add(p, b)
            r = Gelu(q)
            y = MatMul(r, v) }}""",
        g=gain,
        o=offset,
        w=first,
        b=rng_weight(512, seed=4) * 0.1,
        v=second,
    )


def optimized(granularity: str, *passes: str, skip: tuple[str, ...] = ()) -> Result:
    return onnxq.optimize(
        block(),
        {"x": rng_weight(24, LENGTH, WIDTH, seed=5)},
        threads=1,
        check=True,
        passes=passes,
        skip=skip,
        weight_granularity=granularity,
    )


def sqnr(result: Result) -> float:
    found = result.metric("sqnr")
    assert found is not None
    return found


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_outlier_features_no_longer_cost_the_others_their_bits(granularity: str) -> None:
    before = optimized(granularity, skip=("keep-signal",))
    after = optimized(granularity, "+smooth-activations", skip=("keep-signal",))
    assert before.metric("integer") == after.metric("integer") == 1
    assert sqnr(after) > sqnr(before) + 10
    assert all(e.rolled_back is None for e in after.trace)


def test_what_would_drown_stays_on_integers() -> None:
    before, after = optimized("channel"), optimized("channel", "+smooth-activations")
    assert before.metric("integer") == pytest.approx(0.5)
    assert after.metric("integer") == 1
    assert sqnr(after) > 30
