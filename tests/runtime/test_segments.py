from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.edit import replace_weight
from onnxq.graph.io import fingerprint
from onnxq.runtime import segments
from onnxq.runtime.segments import LayerInputs, SegmentedRun, bytes_held
from onnxq.runtime.session import Session, make_session, run_model
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir
    import pytest

_TEXT = """f (float[1,4] x, float[4,4] w, float[4,4] v) => (float[1,4] y, float[1,4] z) {
    a = MatMul(x, w)
    b = Relu(a)
    c = MatMul(b, v)
    d = Add(c, a)
    y = MatMul(d, w)
    z = Neg(y) }"""
_ENDS = ["node_a", "node_c", "node_y"]


def source() -> ir.Model:
    return build(_TEXT, w=rng_weight(4, 4), v=rng_weight(4, 4, seed=1))


def samples(of: ir.Model, count: int = 3) -> list[dict[str, npt.NDArray[np.float32]]]:
    return [feeds_for(of, seed) for seed in range(count)]


def test_each_end_gives_what_a_whole_run_gives() -> None:
    graph = source()
    feeds = samples(graph)
    found = dict(SegmentedRun(graph, _ENDS, feeds))
    assert list(found) == _ENDS
    for number, feed in enumerate(feeds):
        whole = run_model(graph, feed, ["a", "c", "y"])
        for name in ("a", "c", "y"):
            np.testing.assert_array_equal(found[f"node_{name}"][number], whole[name])


def test_edits_are_used_from_there_on() -> None:
    graph = source()
    feeds = samples(graph)
    run, edited = SegmentedRun(graph, _ENDS, feeds), []
    for name, arrays in run:
        if name == "node_a":
            arrays[:] = [array + 1 for array in arrays]
            edited = list(arrays)
        last = arrays
    w, v = rng_weight(4, 4), rng_weight(4, 4, seed=1)
    for a, y in zip(edited, last, strict=True):
        np.testing.assert_allclose(y, (np.maximum(a, 0) @ v + a) @ w, rtol=1e-5)


def test_edits_of_one_sample_leave_the_others_alone() -> None:
    graph = source()
    feeds = samples(graph, 2)
    for name, arrays in SegmentedRun(graph, _ENDS, feeds):
        if name == "node_a":
            arrays[0] = arrays[0] * 0
        last = arrays
    np.testing.assert_array_equal(last[0], np.zeros((1, 4)))
    np.testing.assert_array_equal(last[1], run_model(graph, feeds[1], ["y"])["y"])


def test_every_node_up_to_the_last_end_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = source()
    seen: list[str] = []
    make = make_session

    def counting(piece: ir.Model, *, optimize: bool, threads: int) -> Session:
        seen.extend(str(node.name) for node in piece.graph)
        assert not optimize
        return make(piece, optimize=optimize, threads=threads)

    monkeypatch.setattr(segments, "make_session", counting)
    list(SegmentedRun(graph, _ENDS, samples(graph)))
    assert seen == ["node_a", "node_b", "node_c", "node_d", "node_y"]


def test_values_that_nothing_reads_any_more_are_dropped() -> None:
    graph = source()
    run = SegmentedRun(graph, _ENDS, samples(graph, 2))
    kept = [set(run._live[1]) for _ in run]
    assert kept == [{"a"}, {"a", "c"}, {"y"}]


def test_an_end_that_nothing_reads_is_dropped_after_it_was_shown() -> None:
    graph = build(
        """f (float[1,4] x, float[4,4] w) => (float[1,4] y, float[1,4] z) {
            y = MatMul(x, w)
            z = MatMul(x, w) }""",
        w=rng_weight(4, 4),
    )
    run = SegmentedRun(graph, ["node_y", "node_z"], samples(graph, 2))
    kept = [set(run._live[0]) for _ in run]
    assert kept == [{"x", "y"}, {"z"}]


def test_model_and_feeds_stay_as_they_are() -> None:
    graph = source()
    feeds, before = samples(graph), fingerprint(graph)
    copies = [{name: array.copy() for name, array in feed.items()} for feed in feeds]
    for _, arrays in SegmentedRun(graph, _ENDS, feeds):
        arrays[:] = [array * 2 for array in arrays]
    assert fingerprint(graph) == before
    for feed, copy in zip(feeds, copies, strict=True):
        assert list(feed) == list(copy)
        np.testing.assert_array_equal(feed["x"], copy["x"])


def test_without_ends_nothing_runs() -> None:
    graph = source()
    assert list(SegmentedRun(graph, [], samples(graph))) == []
    assert list(SegmentedRun(graph, ["no such node"], samples(graph))) == []


def test_samples_may_differ_in_shape() -> None:
    graph = build(
        "f (float[N,4] x, float[4,4] w) => (float[N,4] y) { a = MatMul(x, w) y = MatMul(a, w) }",
        w=rng_weight(4, 4),
    )
    feeds = [feeds_for(graph, batch=n) for n in (1, 5)]
    *_, (_, last) = SegmentedRun(graph, ["node_a", "node_y"], feeds)
    assert [array.shape for array in last] == [(1, 4), (5, 4)]


def test_what_is_made_of_weights_alone_is_never_kept_per_sample() -> None:
    text = """f (float[1,4] x, float[4,4] w) => (float[1,4] y) {
        t = Neg(w)
        u = Abs(t)
        a = MatMul(x, u)
        b = MatMul(a, u)
        y = Add(b, a) }"""
    graph = build(text, w=rng_weight(4, 4))
    feeds = samples(graph)
    run = SegmentedRun(graph, ["node_a", "node_y"], feeds)
    for _, arrays in run:
        assert all(set(live) <= {"x", "a", "y"} for live in run._live)
        last = list(arrays)
    for feed, y in zip(feeds, last, strict=True):
        np.testing.assert_array_equal(y, run_model(graph, feed, None)["y"])


def test_layers_show_what_they_read() -> None:
    graph = source()
    feeds = samples(graph)
    seen = {str(node.name): list(arrays) for node, arrays in LayerInputs(graph, _ENDS, feeds)}
    assert list(seen) == _ENDS
    for number, feed in enumerate(feeds):
        whole = {**feed, **run_model(graph, feed, ["b", "d"])}
        for name, value in (("node_a", "x"), ("node_c", "b"), ("node_y", "d")):
            np.testing.assert_array_equal(seen[name][number], whole[value])


def test_a_layer_that_was_shown_can_get_another_weight() -> None:
    graph = source()
    feeds = samples(graph)
    for node, arrays in LayerInputs(graph, _ENDS, feeds):
        if node.name == "node_a":
            replace_weight(node, 1, 2 * rng_weight(4, 4))
        last = arrays
    w, v = 2 * rng_weight(4, 4), rng_weight(4, 4, seed=1)
    for feed, d in zip(feeds, last, strict=True):
        a = feed["x"] @ w
        np.testing.assert_allclose(d, np.maximum(a, 0) @ v + a, rtol=1e-5, atol=1e-6)


def test_bytes_held_are_those_that_layers_keep() -> None:
    graph = source()
    run = LayerInputs(graph, _ENDS, samples(graph))
    kept = [sum(array.nbytes for array in run._live[0].values()) for _ in run]
    shapes = dict.fromkeys("xabcdyz", (1, 4))
    assert bytes_held(graph, _ENDS, shapes) == max(kept) == 2 * 4 * 4
