from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.scale_search import searched_block_scale, searched_scale

WEIGHTS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=3), elements=st.floats(-8, 8, width=16)
)
LIMITS = st.sampled_from([(-2, 1), (-4, 3), (-8, 7), (-1, 1)])


def square_error(
    w: npt.NDArray[np.float32],
    scale: npt.ArrayLike,
    limits: tuple[int, int],
    importance: npt.ArrayLike = 1.0,
) -> float:
    s = np.asarray(scale, np.float64)
    codes = np.clip(np.rint(w.astype(np.float64) / s), *limits)
    return float((np.square(codes * s - w) * importance).sum())


@given(WEIGHTS, LIMITS)
def test_no_channel_is_worse_off_than_without_clipping(
    w: npt.NDArray[np.float32], limits: tuple[int, int]
) -> None:
    best = searched_scale(w, 0, limits)
    assert best.shape == (len(w),)
    assert (best > 0).all()
    for row, scale in zip(w, best, strict=True):
        wide = np.abs(row).max() / limits[1] or 1.0
        assert square_error(row, scale, limits) <= square_error(row, wide, limits) + 1e-4


@pytest.mark.parametrize(("qmax", "optimum"), [(1, 1.22), (3, 1.95)])
def test_the_known_optimum_for_normal_weights(qmax: int, optimum: float) -> None:
    w = np.random.default_rng(0).standard_normal((1, 200_000)).astype(np.float32)
    scale = searched_scale(w, None, (-qmax, qmax))
    assert scale.shape == ()
    assert float(scale) * qmax == pytest.approx(optimum, rel=0.02)


@pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
def test_the_scale_of_an_exponent_is_the_best_for_it(p: float) -> None:
    w = np.random.default_rng(0).standard_t(3, (4, 500)).astype(np.float32)
    found = {q: searched_scale(w, 0, (-8, 7), p=q) for q in (1.0, 2.0, 4.0)}

    def error(scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        s = scale[:, np.newaxis].astype(np.float64)
        off = np.clip(np.rint(w / s), -8, 7) * s - w
        return np.asarray((np.abs(off) ** p).sum(axis=1))

    for q in found:
        assert (error(found[p]) <= error(found[q]) * (1 + 1e-6)).all()
    assert (found[4.0] > found[1.0]).all()


@pytest.mark.parametrize("limits", [(-2, 1), (-4, 3), (-8, 7)])
def test_weights_that_are_multiples_of_a_scale_lose_nothing(limits: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(limits[0], limits[1] + 1, (5, 64))
    codes[:, 0], codes[:, 1] = limits
    true = rng.uniform(0.01, 3, 5).astype(np.float32)
    w = (codes * true[:, None]).astype(np.float32)
    np.testing.assert_allclose(searched_scale(w, 0, limits), true, rtol=1e-5)


def test_channels_do_not_influence_each_other() -> None:
    w = np.random.default_rng(0).standard_normal((300, 64, 9)).astype(np.float32)
    together = searched_scale(w, 0, (-8, 7))
    alone = [searched_scale(w[i : i + 1], 0, (-8, 7))[0] for i in (0, 150, 299)]
    np.testing.assert_array_equal(together[[0, 150, 299]], alone)


def test_important_weights_decide() -> None:
    w = np.random.default_rng(2).standard_normal((4, 200)).astype(np.float32)
    w[:, :5] *= 8
    important = np.ones((1, 200), np.float32)
    important[:, :5] = 0.02
    plain, weighted = searched_scale(w, 0, (-4, 3)), searched_scale(w, 0, (-4, 3), important)
    for row, one, other in zip(w, plain, weighted, strict=True):
        assert square_error(row, other, (-4, 3), important) < square_error(
            row, one, (-4, 3), important
        )


def test_equal_importance_changes_nothing() -> None:
    w = np.random.default_rng(3).standard_normal((4, 30)).astype(np.float32)
    alike = searched_scale(w, 0, (-4, 3), np.full((1, 30), 7.0))
    np.testing.assert_allclose(alike, searched_scale(w, 0, (-4, 3)), rtol=1e-6)


def test_what_no_sample_shows_still_counts() -> None:
    w = np.random.default_rng(4).standard_normal((1, 50)).astype(np.float32)
    unseen = searched_scale(w, 0, (-4, 3), np.zeros((1, 50)))
    np.testing.assert_allclose(unseen, searched_scale(w, 0, (-4, 3)), rtol=1e-6)


def test_a_channel_of_zeros_has_scale_one() -> None:
    w = np.zeros((2, 3), np.float32)
    w[1] = 1
    assert searched_scale(w, 0, (-8, 7))[0] == 1.0


@pytest.mark.parametrize(("axis", "shape"), [(0, (3, 6)), (1, (10, 2))])
def test_every_block_is_searched_by_itself(axis: int, shape: tuple[int, int]) -> None:
    w = np.random.default_rng(5).standard_normal((10, 6)).astype(np.float32)
    scale = searched_block_scale(w, axis, 4, (-8, 7))
    assert scale.shape == shape
    last = w[8:, 3] if axis == 0 else w[3, 4:]
    alone = searched_scale(last[np.newaxis], 0, (-8, 7))[0]
    assert scale[-1, 3] == alone if axis == 0 else scale[3, -1] == alone
