"""Tests of :mod:`onnxq.runtime.survey`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from onnxq.runtime.survey import Survey
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnxq.runtime.session import Feed

_GRAPH = "agraph (float[1,4] x) => (float[1,4] y) { h = Relu(x) y = Neg(h) }"


def _samples(number: int) -> Iterable[Feed]:
    return islice(({"x": np.full((1, 4), n, np.float32)} for n in range(100)), number)


def test_it_observes_the_named_values_over_count_samples() -> None:
    stats = Survey(_samples, count=5).observe(build(_GRAPH), ["h"])

    assert list(stats.values) == ["h"]
    assert stats.samples == 5
    assert stats["h"].maximum == 4


def test_every_observation_sees_the_same_samples() -> None:
    survey = Survey(_samples, count=3)

    first, second = (survey.observe(build(_GRAPH), ["y"]) for _ in range(2))

    assert first["y"].minimum == second["y"].minimum == -2


def test_channels_lie_on_axis_1_whatever_the_rank() -> None:
    source = build("agraph (float[1,4,3] x, float[4] v) => (float[1,4,3] y, float[4] z) {"
                   " y = Neg(x) z = Neg(v) }")  # fmt: skip
    x = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    survey = Survey(lambda count: [{"x": x, "v": x[0, :, 0]}][:count])
    found = survey.channels(source, source.graph.outputs)

    assert list(found) == [source.graph.outputs[0]]
    np.testing.assert_array_equal(found[source.graph.outputs[0]].minimum, [-2, -5, -8, -11])
