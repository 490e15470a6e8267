"""A model in segments: wherever it is cut, it computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.search.chain import Chain
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    import numpy.typing as npt

_TEXT = """f (float[1,4,6,6] x, float[1,2,6,6] z, float[4,4,1,1] w, float s)
    => (float[1,4,6,6] y, float[1,6,6,6] k) {
    a = Conv(x, w)
    b = Relu(a)
    c = Mul(b, s)
    d = Add(c, a)
    e = Conv(d, w)
    k = Concat<axis = 1>(b, z)
    y = Add(e, x) }"""
SIZES = {"a": 144, "b": 144, "c": 144, "d": 144, "e": 144, "k": 216, "y": 144}


def chain(segments: int) -> tuple[Chain, dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """Returns a chain with s as its param, a feed, and the outputs that are right for s = 0.5."""
    model = build(_TEXT, w=rng_weight(4, 4, 1, 1))
    feed = feeds_for(model)
    feed["s"] = np.asarray(0.5, np.float32)
    outputs = run(model, feed)
    del feed["s"]
    return Chain(model, {"s"}, SIZES, segments=segments), feed, outputs


def after(segments: Chain, feed: dict[str, npt.NDArray[Any]], s: float) -> dict[str, Any]:
    state: dict[str, npt.NDArray[Any]] = {}
    for number in range(len(segments.segments)):
        state = dict(segments.run(number, feed, state, {"s": np.asarray(s, np.float32)}))
    return segments.outputs(feed, state)


@pytest.mark.parametrize("segments", [1, 2, 3, 5, 99])
def test_segments_compute_what_the_whole_does(segments: int) -> None:
    cut, feed, wanted = chain(segments)

    found = after(cut, feed, 0.5)

    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def test_params_are_fed() -> None:
    cut, feed, wanted = chain(3)

    assert (after(cut, feed, 0.25)["y"] != wanted["y"]).any()


def test_a_param_belongs_to_the_segments_that_read_it() -> None:
    cut, _, _ = chain(99)

    assert [segment.params for segment in cut.segments].count(("s",)) == 1


def test_work_adds_up_to_the_whole() -> None:
    assert sum(segment.work for segment in chain(4)[0].segments) == pytest.approx(1)
