"""The benchmark of outlier channels measures what the issue of them was about."""

from __future__ import annotations

import numpy as np
import pytest

from tools import cluster_split
from tools.cluster_split import Case, cases, channel_factors, make_model, measure, samples


def test_a_few_channels_are_larger() -> None:
    sizes = channel_factors(4, 60.0)
    assert sorted(sizes.tolist()) == [1.0] * 252 + [60.0] * 4


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_columns_are_as_small_as_channels_are_large(case: Case) -> None:
    sizes = channel_factors(4, 60.0)
    model = make_model(case, sizes)
    (weight,) = (t for t in model.graph.initializer if t.name == "w")
    array = np.frombuffer(weight.raw_data, np.float32).reshape(weight.dims)
    size = np.sqrt(np.square(array).mean(axis=(0, 2, 3) if case.layer == "conv" else 1))
    ratio = size[sizes > 1].mean() / size[sizes == 1].mean()
    assert ratio == pytest.approx(1 / 60 if case.small else 1.0, rel=0.1)


def test_samples_differ_between_seeds_alone() -> None:
    case, sizes = Case("matmul", "input", small=True), channel_factors(4, 60.0)
    one, again, other = (next(samples(case, sizes, seed))["x"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_clusters_gain_twenty_decibels_on_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_split, "SAMPLES", 4)
    monkeypatch.setattr(cluster_split, "BUDGET_S", 0.05)
    one, apart, _ = measure(Case("matmul", "silu", small=True), channel_factors(4, 60.0))
    assert apart.sqnr > one.sqnr + 20
    assert apart.share == one.share == 1.0
    assert dict(apart.kernels) == {"MatMulIntegerToFloat": 2}
