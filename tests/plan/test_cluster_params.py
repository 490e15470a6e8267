from __future__ import annotations

import numpy as np

from onnxq.numerics.statistics import ValueStats
from onnxq.plan.channels import Writing
from onnxq.plan.cluster_params import covering, sum_plan, with_channel_scales, with_one_scale
from onnxq.plan.spec import IntType, PerAxis, PerTensor
from tests.plan.checking import planned

U8 = IntType.parse("uint8")


def test_one_scale_covers_all_ranges() -> None:
    found = covering(np.array([-1.0, -3.0]), np.array([7.0, 2.0]), U8)
    assert float(found.scale) == np.float32(10 / 255)
    assert int(found.zero_point) == round(3 * 255 / 10)


def test_sums_are_covered_as_they_are_written() -> None:
    writing = Writing(np.array([2.0, 0.5], np.float32), np.array([1.0, -4.0], np.float32))
    rest = np.array([-1.0, -2.0]), np.array([3.0, 4.0])
    part = np.array([0.0, -20.0]), np.array([1.0, 1.0])
    plain, scaled = (sum_plan([rest, part], one, U8).params for one in (None, writing))
    assert plain is not None
    assert scaled is not None
    assert float(plain.scale) == np.float32((4 + 20) / 255)
    # rest -1…3 · 2 + 1 and -2…4 · 0.5 - 4, part 0…1 · 2 and -20…1 · 0.5
    assert float(scaled.scale) == np.float32((7 + 10) / 255)


def test_channels_get_their_own_scales_and_lose_them_again() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)) * np.array([[[1]], [[9]], [[60]]])
    stats = ValueStats.of(x.astype(np.float32), 1)
    each = with_channel_scales(planned(), stats)
    assert each.params is not None
    assert each.spec.granularity == PerAxis(1)
    assert each.params.scale[2] > 10 * each.params.scale[0]
    one = with_one_scale(each, stats)
    assert one.params is not None
    assert isinstance(one.spec.granularity, PerTensor)
    assert float(one.params.scale) == np.float32((stats.maximum - stats.minimum) / 255)
