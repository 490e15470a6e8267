from __future__ import annotations

import numpy as np

from onnxq.graph.io import fingerprint
from onnxq.runtime.partial_sums import partial_ranges
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for


def test_ranges_are_those_of_the_sums_by_themselves() -> None:
    w, b = rng_weight(5, 6, 1, 1), rng_weight(5, seed=1)
    source = build(
        "f (float[1,6,4,4] x, float[5,6,1,1] w, float[5] b) => (float[1,5,4,4] y)"
        "{ a = Tanh(x) c = Conv(a, w, b) y = Relu(c) }",
        w=w, b=b,
    )  # fmt: skip
    before = fingerprint(source)
    feeds = [feeds_for(source, seed) for seed in range(3)]
    parts = [np.array([1, 4]), np.array([0])]
    found = partial_ranges(source, {"node_c": parts}, feeds)["node_c"]
    assert fingerprint(source) == before
    a = np.tanh(np.concatenate([feed["x"] for feed in feeds]))
    each = [
        np.einsum("oi,nihw->nohw", w[:, part, 0, 0], a[:, part])
        for part in (np.array([2, 3, 5]), *parts)
    ]
    each[0] = each[0] + b.reshape(1, 5, 1, 1)
    for sums, (low, high) in zip(each, found, strict=True):
        np.testing.assert_allclose(low, sums.min(axis=(0, 2, 3)), atol=1e-5)
        np.testing.assert_allclose(high, sums.max(axis=(0, 2, 3)), atol=1e-5)
