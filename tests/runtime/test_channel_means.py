from __future__ import annotations

import numpy as np

from onnxq.runtime.channel_means import channel_mean, channel_means
from onnxq.runtime.session import run_model
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for


def test_means_are_those_of_each_sample_and_channel() -> None:
    source = build(
        """f (float[1,4,6,6] x, float[3,4,3,3] w) => (float[1,3] y) {
            c = Conv(x, w)
            p = GlobalAveragePool(c)
            y = Flatten(p) }""",
        w=rng_weight(3, 4, 3, 3),
    )
    feeds = [feeds_for(source, seed=seed, batch=1) for seed in range(3)]
    found = channel_means(source, ["c", "y"], feeds)
    assert {name: means.shape for name, means in found.items()} == {"c": (3, 3), "y": (3, 3)}
    for number, feed in enumerate(feeds):
        inner = run_model(source, feed, ["c"])["c"]
        np.testing.assert_allclose(found["c"][number], inner.mean(axis=(0, 2, 3)), atol=1e-6)
        np.testing.assert_allclose(found["y"][number], found["c"][number], atol=1e-6)


def test_sums_of_many_float32_numbers_stay_exact() -> None:
    array = np.full((1, 1, 3000, 3000), 0.1, np.float32)
    assert channel_mean(array)[0] == float(np.float32(0.1))


def test_the_mean_of_nothing_is_no_number() -> None:
    assert np.isnan(channel_mean(np.zeros((0, 3, 2, 2), np.float32))).tolist() == [True] * 3
