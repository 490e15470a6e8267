from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.numerics.channel_scales import Reader, channel_scales

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def reader(*shape: int, depthwise: bool = False, seed: int = 0) -> Reader:
    weight = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Reader(weight, depthwise, qmax=127)


def noise(scales: Array, common: float, power: Array, readers: list[Reader]) -> float:
    """The module's formula, written out once more."""
    total = 0.0
    ratio = scales / common
    for one in readers:
        weight = one.weight.astype(np.float64)
        if one.depthwise:
            total += sum(scales[c] ** 2 / 12 * (weight[c] ** 2).sum() for c in range(len(scales)))
            continue
        for row in weight:
            total += sum(scales[i] ** 2 / 12 * (row[i] ** 2).sum() for i in range(len(scales)))
            step = max(abs(row[i]).max() * ratio[i] for i in range(len(scales))) / one.qmax
            total += step**2 / 12 * (power / ratio**2).sum() * weight.shape[2]
    return total


SPREADS = st.lists(st.floats(-4, 0), min_size=3, max_size=8).map(np.exp2)


@given(SPREADS, st.booleans(), st.integers(0, 9))
def test_never_worse_than_one_scale_or_each_channels_own(
    spread: Array, depthwise: bool, seed: int
) -> None:
    channels, common = len(spread), 0.05
    own, power = common * spread, np.square(128 * common * spread)
    readers = [reader(5, channels, 9, seed=seed)]
    if depthwise:
        readers.append(reader(channels, 1, 9, depthwise=True, seed=seed))
    scales = channel_scales(common, own, power, readers)
    found = noise(scales.astype(np.float64), common, power, readers)
    for other in (np.full(channels, common), own):
        assert found <= noise(other, common, power, readers) * (1 + 1e-5)


def test_the_least_noise_of_eleven_steps_is_taken() -> None:
    own = np.array([0.1, 0.02, 0.004])
    power, readers = np.square(100 * own), [reader(4, 3, 1)]
    scales = channel_scales(0.1, own, power, readers)
    steps = [0.1 ** (1 - a) * own**a for a in np.linspace(0, 1, 11)]
    noises = [noise(step, 0.1, power, readers) for step in steps]
    np.testing.assert_allclose(scales, steps[int(np.argmin(noises))], rtol=1e-6)
    assert 0 < int(np.argmin(noises)) < 10


def test_behind_depthwise_layers_every_channel_has_its_own_scale() -> None:
    own = np.array([0.1, 0.05, 0.01])
    scales = channel_scales(0.1, own, np.square(100 * own), [reader(3, 1, 9, depthwise=True)])
    np.testing.assert_allclose(scales, own, rtol=1e-6)


def test_channels_alike_have_one_scale() -> None:
    own = np.full(4, 0.1)
    scales = channel_scales(0.1, own, np.full(4, 25.0), [reader(4, 4, 1)])
    np.testing.assert_allclose(scales, 0.1, rtol=1e-6)


@pytest.mark.parametrize("quiet", [0.0, 1e-6])
def test_a_quiet_channels_scale_is_a_sixty_fourth_at_least(quiet: float) -> None:
    own = np.array([0.64, quiet])
    scales = channel_scales(0.64, own, np.square(own), [reader(2, 1, 9, depthwise=True)])
    np.testing.assert_allclose(scales, [0.64, 0.01], rtol=1e-6)


def test_what_only_costs_the_weights_is_left_alone() -> None:
    """The second channel's weight is too small to gain by finer codes, and could only lose."""
    weight = np.array([[[1.0], [0.0001]]], np.float32)
    own, power = np.array([0.1, 0.05]), np.array([1.0, 1e6])
    scales = channel_scales(0.1, own, power, [Reader(weight, False, 127)])
    np.testing.assert_allclose(scales, 0.1, rtol=1e-6)
    assert scales.dtype == np.float32


def test_energy_runs_over_what_reads_a_channel() -> None:
    weight = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    dense = Reader(weight, False, 127).energy()
    np.testing.assert_array_equal(dense, np.square(weight).sum(axis=(0, 2)))
    depthwise = Reader(weight.reshape(6, 1, 2), True, 127).energy()
    np.testing.assert_array_equal(depthwise, np.square(weight).reshape(6, 2).sum(axis=1))


def test_depthwise_weights_lose_nothing() -> None:
    one = reader(3, 1, 9, depthwise=True)
    assert one.weight_noise(np.array([1.0, 2.0, 4.0]), np.ones(3)) == 0
