"""Samples whose moments in the model come nearer to what BatchNormalization saw."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from onnxq.runtime.session import make_session
from onnxq.search.distribution import Correction, correct_distribution
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.graph.prior import Prior
    from onnxq.runtime.session import Feed

RNG = np.random.default_rng(7)


@functools.cache
def network() -> ir.Model:
    return build(
        """f (float[1,3,8,8] x, float[4,3,3,3] w0, float[4,4,3,3] w1) => (float[1,4,4,4] y) {
        c0 = Conv(x, w0)
        r0 = Relu(c0)
        y = Conv(r0, w1) }""",
        w0=rng_weight(4, 3, 3, 3), w1=rng_weight(4, 4, 3, 3, seed=1) / 8,
    )  # fmt: skip


def samples(count: int, shift: float = 0.0, size: int = 8) -> list[Feed]:
    return [
        {"x": RNG.normal(shift, 1, (1, 3, size, size)).astype(np.float32)} for _ in range(count)
    ]


@functools.cache
def prior() -> Prior:
    """What many samples show."""
    session = make_session(network(), outputs=["c0", "y"])
    found = [session.run(feed) for feed in samples(200)]
    held = {name: np.concatenate([one[name] for one in found]) for name in ("c0", "y")}
    return {
        name: (
            array.mean((0, 2, 3), dtype=np.float32),
            array.std((0, 2, 3), dtype=np.float32),
        )
        for name, array in held.items()
    }


FEW = samples(4, shift=0.5)


@functools.cache
def corrected(steps: int) -> Correction:
    found = correct_distribution(network(), prior(), FEW, steps=steps)
    assert found is not None
    return found


def test_every_step_comes_nearer() -> None:
    distances = [corrected(steps).after for steps in (0, 1, 5, 20)]

    assert corrected(20).before == distances[0]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.5 * distances[0]
    assert corrected(1).values == 2


def test_samples_stay_near_what_they_were() -> None:
    for before, after in zip(FEW, corrected(20).feeds, strict=True):
        off = after["x"] - before["x"]
        assert after["x"].dtype == np.float32
        assert 0 < np.abs(off).max() <= 20 * 0.02 * 1.5


def test_samples_that_fit_hardly_move() -> None:
    many = samples(100)
    found = correct_distribution(network(), prior(), many, steps=1)

    assert found is not None
    assert found.before < 0.01


def test_nothing_is_corrected_without_moments_or_one_shape() -> None:
    mixed = [*samples(1), *samples(1, size=9)]

    assert correct_distribution(network(), {}, FEW) is None
    assert correct_distribution(network(), prior(), mixed) is None
