from __future__ import annotations

import numpy as np
import pytest

from onnxq.plan.cluster_noise import layer_noise
from tests.passes.rewrite.building import build, rng_weight


def test_the_noise_is_what_is_measured() -> None:
    w = rng_weight(64, 32)
    w[5] *= 10
    source = build("f (float[9,64] x, float[64,32] w) => (float[9,32] y) { y = MatMul(x, w) }", w=w)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 64)) * np.where(np.arange(64) == 7, 20, 1)
    labels = (np.arange(64) == 7).astype(np.int64)
    steps = np.array([0.05, 0.7])
    step, scale = steps[labels], np.zeros((2, 32))
    for label in (0, 1):
        scale[label] = np.abs(w[labels == label]).max(axis=0) / 127
    rounded_w = np.rint(w / scale[labels]) * scale[labels]
    rounded = np.rint(x / step) * step @ rounded_w
    wanted = x @ w.astype(np.float64)
    layer = layer_noise(source.graph[0], 127, 0.0)
    power = np.square(x).mean(axis=0)
    measured = np.square(rounded - wanted).sum(axis=1).mean()
    assert layer.noise(labels, steps, power) == pytest.approx(measured, rel=0.15)
    assert layer.signal(power) == pytest.approx(np.square(wanted).sum(axis=1).mean(), rel=0.1)


def test_every_rounded_sum_adds_the_outputs_noise() -> None:
    source = build(
        "f (float[1,4,3,3] x, float[6,4,1,1] w) => (float[1,6,3,3] y) { y = Conv(x, w) }",
        w=rng_weight(6, 4, 1, 1),
    )
    layer = layer_noise(source.graph[0], 127, 0.5)
    alone, power, steps = np.zeros(4, np.int64), np.ones(4), np.array([0.1])
    one, three = (layer.noise(alone, steps, power, rounded) for rounded in (0, 2))
    assert three - one == pytest.approx(2 * 6 * 0.25 / 12)
