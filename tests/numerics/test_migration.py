from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.numerics.migration import Bits, ChannelRows, Migration, RowReader, migration

ROWS, INPUTS, OUTPUTS = 200, 24, 16


def source(sizes: npt.ArrayLike, seed: int = 0) -> ChannelRows:
    rows = np.random.default_rng(seed).normal(size=(ROWS, np.size(sizes))) * np.asarray(sizes)
    rows = rows.astype(np.float32)
    return ChannelRows(rows, rows.min(axis=0), rows.max(axis=0))


def outliers(count: int = 2, factor: float = 60.0) -> npt.NDArray[np.float64]:
    sizes = np.ones(INPUTS)
    sizes[:count] = factor
    return sizes


def weight(seed: int = 1, groups: int = 1, taps: int = 1) -> npt.NDArray[np.float64]:
    shape = (groups, INPUTS // groups, OUTPUTS // groups, taps)
    return np.random.default_rng(seed).normal(size=shape)


def reader(sizes: npt.ArrayLike, **shape: int) -> RowReader:
    return RowReader(source(sizes), weight(**shape), np.arange(INPUTS))


def migrated(item: RowReader, found: Migration) -> RowReader:
    by = np.append(found.scales, 1.0)[item.numbers]
    rows, low, high = (np.asarray(array / by, np.float32) for array in item.source)
    column = by.reshape(item.weight.shape[0], -1, 1, 1)
    return RowReader(ChannelRows(rows, low, high), item.weight * column, item.numbers)


def coded(x: npt.NDArray[np.float64], step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.rint(x / step) * step)


def table(item: RowReader) -> npt.NDArray[np.float64]:
    return np.asarray(item.weight[0, :, :, 0], np.float64)


def units(item: RowReader) -> npt.NDArray[np.float64]:
    """The size of each output of a layer of one group."""
    power = np.square(item.source.rows.astype(np.float64)).mean(axis=0)
    return np.asarray(np.sqrt(power @ np.square(table(item))), np.float64)


def noise(item: RowReader, bits: Bits) -> float:
    """The error of a layer of one group with codes of ``bits``, by other code, not clipped."""
    rows, weights = item.source.rows.astype(np.float64), table(item)
    step = np.asarray((max(0, rows.max()) - min(0, rows.min())) / (2**bits.activation - 1))
    steps = np.abs(weights).max(axis=0) / (2 ** (bits.weight - 1) - 1)
    wrong = coded(rows, step) @ coded(weights, steps) - rows @ weights
    return float(np.square(wrong / units(item)).mean())


def heavy(*items: RowReader) -> npt.NDArray[np.float64]:
    """The greatest weight of each input channel, in units of the outputs."""
    most = [np.abs(table(one)).T / units(one)[:, None] for one in items]
    return np.asarray(np.max(most, (0, 1)), np.float64)


@pytest.mark.parametrize(
    ("bits", "least"), [(Bits(), 10), (Bits(weight=4), 2), (Bits(activation=4), 4)]
)
def test_planted_outliers_are_migrated_and_the_error_falls_by_what_is_told(
    bits: Bits, least: float
) -> None:
    item = reader(outliers())
    found = migration([item], INPUTS, bits=bits)
    assert found is not None
    assert found.gain > least
    fell = 10 * np.log10(noise(item, bits) / noise(migrated(item, found), bits))
    assert fell == pytest.approx(found.gain, abs=1)
    assert found.scales[:2].min() > 2 * found.scales[2:].max()


def test_weights_of_few_bits_take_less_over() -> None:
    many, few = (migration([reader(outliers())], INPUTS, bits=Bits(n)) for n in (8, 3))
    assert many is not None
    assert few is None or few.alpha < many.alpha


def test_activations_of_few_bits_give_more_away() -> None:
    many, few = (migration([reader(outliers())], INPUTS, bits=Bits(6, n)) for n in (8, 4))
    assert many is not None
    assert few is not None
    assert few.alpha > many.alpha


def test_the_scales_are_those_of_the_paper() -> None:
    item = reader(outliers())
    found = migration([item], INPUTS)
    assert found is not None
    wide = np.maximum(-item.source.low, item.source.high).astype(np.float64)
    scales = wide**found.alpha / heavy(item) ** (1 - found.alpha)
    np.testing.assert_allclose(found.scales / found.scales[0], scales / scales[0], rtol=1e-6)
    assert np.log(found.scales).mean() == pytest.approx(0, abs=1e-9)


def test_even_channels_gain_next_to_nothing() -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (ROWS, INPUTS)).astype(np.float32)
    even = ChannelRows(rows, rows.min(axis=0), rows.max(axis=0))
    found = migration([RowReader(even, weight(), np.arange(INPUTS))], INPUTS)
    assert found is None or found.gain < 0.5


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 99),
    st.floats(0, 3),
    st.sampled_from([(1, 1), (4, 1), (1, 9), (8, 3)]),
    st.booleans(),
    st.sets(st.integers(0, INPUTS - 1), max_size=3),
    st.sets(st.integers(0, INPUTS - 1), max_size=3),
)
def test_a_second_migration_gains_nothing(
    seed: int,
    spread: float,
    shape: tuple[int, int],
    per_channel: bool,
    still: set[int],
    idle: set[int],
) -> None:
    sizes = np.exp(np.random.default_rng(seed).normal(size=INPUTS) * spread)
    sizes[list(still)] = 0
    item = reader(sizes, groups=shape[0], taps=shape[1])
    inside = INPUTS // shape[0]
    for channel in idle:
        item.weight[channel // inside, channel % inside] = 0
    found = migration([item], INPUTS, per_channel=per_channel)
    if found is None:
        return
    again = migration([migrated(item, found)], INPUTS, per_channel=per_channel)
    assert again is None or again.gain < 0.25


def test_what_readers_behind_do_to_an_output_changes_nothing() -> None:
    item = reader(outliers())
    rows = np.exp2(np.random.default_rng(5).integers(-6, 6, OUTPUTS)).reshape(1, 1, -1, 1)
    other = RowReader(item.source, item.weight * rows, item.numbers)
    first, second = migration([item], INPUTS), migration([other], INPUTS)
    assert first is not None
    assert second is not None
    assert first.gain == pytest.approx(second.gain, abs=1e-3)
    np.testing.assert_allclose(first.scales, second.scales, rtol=1e-6)


def test_channels_without_a_number_keep_their_size() -> None:
    numbers = np.arange(INPUTS) - 1
    item = RowReader(source(outliers(1)), weight(), numbers)
    free = migration([RowReader(item.source, item.weight, np.arange(INPUTS))], INPUTS)
    found = migration([item], INPUTS - 1)
    assert free is not None
    assert found is None or found.gain < free.gain - 10


def test_channels_and_weights_that_are_always_zero_break_nothing() -> None:
    sizes = outliers()
    sizes[5] = 0
    item = reader(sizes)
    item.weight[:, 7] = 0
    item.weight[:, :, 3] = 0
    found = migration([item], INPUTS)
    assert found is not None
    assert np.isfinite(found.scales).all()
    assert (found.scales > 0).all()
    others = np.delete(np.arange(INPUTS), [5, 7])
    alive = RowReader(item.source, np.delete(item.weight, 3, axis=2), item.numbers)
    weights = found.scales * heavy(alive)
    widths = np.maximum(-item.source.low, item.source.high) / found.scales
    assert weights[5] == pytest.approx(np.median(weights[others]))
    assert widths[7] == pytest.approx(np.median(widths[others]))
    assert migration([reader(np.zeros(INPUTS))], INPUTS) is None


def test_all_readers_are_judged_together() -> None:
    first = reader(outliers())
    second = RowReader(first.source, weight(seed=2), first.numbers)
    alone, both = migration([first], INPUTS), migration([first, second], INPUTS)
    assert alone is not None
    assert both is not None
    wide = np.maximum(-first.source.low, first.source.high)
    scales = wide**both.alpha / heavy(first, second) ** (1 - both.alpha)
    np.testing.assert_allclose(both.scales / both.scales[0], scales / scales[0], rtol=1e-5)
