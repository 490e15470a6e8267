from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.graph.query import weight_of
from onnxq.passes.rewrite.reorder_channels import ReorderChannelsPass
from onnxq.runtime.survey import Survey
from tests.passes.rewrite.building import build, rewritten, rng_weight
from tests.passes.rewrite.stages import stage
from tests.support import feeds_for


def weight(source: ir.Model, name: str, position: int = 1) -> npt.NDArray[np.float32]:
    array = weight_of(source.graph.node(f"node_{name}").inputs[position])
    assert array is not None
    return np.asarray(array)


def energies(source: ir.Model, name: str) -> list[float]:
    """‖W_c‖² of the columns of a convolution."""
    return [float(energy) for energy in np.square(weight(source, name)).sum(axis=(0, 2, 3))]


def chain(text: str = "d = Relu(c)", channels: int = 6, **weights: npt.ArrayLike) -> ir.Model:
    """Returns conv c of 6 channels → ``text`` → conv y, which reads d."""
    kinds = {"i": "int64", "f": "float"}
    extra = "".join(
        f", {kinds[np.asarray(w).dtype.kind]}[{','.join(map(str, np.shape(w)))}] {n}"
        for n, w in weights.items()
    )
    return build(
        f"""f (float[2,4,6,6] x, float[2,6,6,6] same, float[6,4,1,1] w, float[6] b,
            float[3,{channels},1,1] v{extra}) => (float[2,3,H,W] y) {{
            c = Conv(x, w, b)
            {text}
            y = Conv(d, v) }}""",
        w=rng_weight(6, 4, 1, 1),
        b=rng_weight(6),
        v=rng_weight(3, channels, 1, 1, seed=1),
        **weights,
    )


def surveyed(source: ir.Model, sizes: npt.ArrayLike) -> Survey:
    """Samples of which the input's channels have these sizes."""
    feeds = feeds_for(source)
    feeds["x"] = np.asarray(feeds["x"] * np.reshape(sizes, (1, -1, 1, 1)), np.float32)
    return Survey(lambda count: [feeds] * count, count=2)


def test_channels_are_sorted_by_what_is_made_of_them() -> None:
    source = chain()
    before = sorted(energies(source, "y"))
    assert rewritten(ReorderChannelsPass(), source).modified
    assert energies(source, "y") == pytest.approx(before)


def test_channels_that_reach_far_come_last() -> None:
    source = chain(text="d = Identity(c)")
    gains = np.array([1, 50, 1, 1, 1, 1], np.float32)
    source.graph.initializers["w"].const_value = _tensor(
        np.ones((6, 4, 1, 1), np.float32) * gains.reshape(-1, 1, 1, 1)
    )
    small = np.array([1, 0.01, 2, 3, 4, 5], np.float32)
    source.graph.initializers["v"].const_value = _tensor(
        np.ones((3, 6, 1, 1), np.float32) * small.reshape(-1, 1, 1)
    )
    assert rewritten(ReorderChannelsPass(survey=surveyed(source, np.ones(4))), source).modified
    np.testing.assert_allclose(weight(source, "y")[0, :, 0, 0], [1, 2, 3, 4, 5, 0.01])
    np.testing.assert_allclose(weight(source, "c")[:, 0, 0, 0], [1, 1, 1, 1, 1, 50])


def test_without_samples_only_weights_count() -> None:
    source = chain()
    source.graph.initializers["v"].const_value = _tensor(
        np.ones((3, 6, 1, 1), np.float32)
        * np.array([3, 1, 2, 6, 5, 4], np.float32).reshape(-1, 1, 1)
    )
    rewritten(ReorderChannelsPass(), source)
    assert weight(source, "y")[0, :, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]


def _tensor(array: npt.NDArray[np.float32]) -> ir.TensorProtocol:
    return ir.tensor(array)


def test_rule_1_what_no_layer_sums_over_stays() -> None:
    source = build(
        """f (float[2,4,6,6] x, float[6,4,1,1] w) => (float[2,1,6,6] y) {
            c = Conv(x, w)  a = Constant<value_ints=[1]>()  y = ReduceMax(c, a) }""",
        w=rng_weight(6, 4, 1, 1),
    )
    assert not rewritten(ReorderChannelsPass(), source).modified


def test_rule_2_inputs_and_outputs_stay() -> None:
    source = build(
        """f (float[2,4,6,6] x, float[6,4,1,1] w, float[3,6,1,1] v)
            => (float[2,3,6,6] y, float[2,6,6,6] c) { c = Conv(x, w)  y = Conv(c, v) }""",
        w=rng_weight(6, 4, 1, 1), v=rng_weight(3, 6, 1, 1),
    )  # fmt: skip
    outcome = rewritten(ReorderChannelsPass(), source)
    assert not outcome.modified
    assert outcome.reasons == ["'c' is a graph output", "'y' is a graph output"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("d = LRN<size=3>(c)", "LRN 'node_d': it knows channels by their place"),
        ("d = Add(c, same)", "Add 'node_d': it reads a value that keeps its order"),
        ("d = Conv(c, u) e = Conv(same, u)", "Conv 'node_d': its weight 'u' is read by others too"),
    ],
    ids=["rule 2", "rule 3", "rule 5"],
)
def test_what_stands_in_the_way_is_told(text: str, reason: str) -> None:
    outcome = rewritten(ReorderChannelsPass(), chain(text, u=rng_weight(6, 6, 1, 1)))
    assert not outcome.modified
    assert reason in outcome.reasons


def test_rule_3_what_is_added_moves_together() -> None:
    source = chain("e = Conv(x, u) d = Add(c, e)", u=rng_weight(6, 4, 1, 1, seed=7))
    first, second = weight(source, "c"), weight(source, "e")
    assert rewritten(ReorderChannelsPass(), source).modified
    order = np.argsort(np.square(chain_v()).sum(axis=(0, 2, 3)))
    np.testing.assert_array_equal(weight(source, "c"), first[order])
    np.testing.assert_array_equal(weight(source, "e"), second[order])


def chain_v() -> npt.NDArray[np.float32]:
    return rng_weight(3, 6, 1, 1, seed=1)


@pytest.mark.parametrize(
    ("text", "channels", "bound"),
    [
        ("d = Conv<group=2>(c, u)", 6, 3),
        ("h, i = Split<axis=1, num_outputs=2>(c) r = Relu(h) d = Concat<axis=1>(r, i)", 6, 3),
        ("s = Slice(c, zero, two, one) d = Concat<axis=1>(c, s)", 8, 2),
    ],
    ids=["group", "split", "slice"],
)
def test_rule_4_channels_stay_in_their_part(text: str, channels: int, bound: int) -> None:
    numbers = {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1])}
    source = chain(text, channels, u=rng_weight(6, 3, 1, 1, seed=4), **numbers)
    before = weight(source, "c")
    assert rewritten(ReorderChannelsPass(), source).modified
    after = weight(source, "c")
    for part in (slice(0, bound), slice(bound, 6)):
        assert sorted(after[part].reshape(-1)) == sorted(before[part].reshape(-1))


def test_rule_4_values_stay_in_their_attention_head() -> None:
    """One head's columns of the projection are all larger than the other's."""
    sizes = np.array([8, 7, 6, 5, 4, 3, 2, 1], np.float32)
    source = build(
        """f (float[N,5,3] x, float[3,8] w, int64[4] heads, float[N,2,5,5] p, int64[3] join,
            float[8,4] u) => (float[N,5,4] y) {
            v = MatMul(x, w)  r = Reshape(v, heads)  t = Transpose<perm=[0,2,1,3]>(r)
            o = MatMul(p, t)  s = Transpose<perm=[0,2,1,3]>(o)  j = Reshape(s, join)
            y = MatMul(j, u) }""",
        w=rng_weight(3, 8), heads=np.array([0, 5, 2, 4]), join=np.array([0, 5, 8]),
        u=np.ones((8, 4), np.float32) * sizes[:, np.newaxis],
    )  # fmt: skip
    assert rewritten(ReorderChannelsPass(), source).modified
    assert weight(source, "y")[:, 0].tolist() == [5, 6, 7, 8, 1, 2, 3, 4]


def test_rule_6_the_order_stays_where_columns_are_equal() -> None:
    source = chain()
    source.graph.initializers["v"].const_value = _tensor(np.ones((3, 6, 1, 1), np.float32))
    assert not rewritten(ReorderChannelsPass(), source).modified


def test_the_prior_moves_along() -> None:
    source = chain()
    order = np.argsort(energies(source, "y"), kind="stable")
    mean, deviation = np.arange(6, dtype=np.float32), np.arange(6, 12, dtype=np.float32)
    prior = {"c": (mean, deviation), "gone": (mean, deviation)}
    ReorderChannelsPass(prior)(source)
    assert prior["c"][0].tolist() == mean[order].tolist()
    assert prior["c"][1].tolist() == deviation[order].tolist()
    assert prior["gone"] == (mean, deviation)


@settings(max_examples=15, deadline=None)
@given(
    half=st.sampled_from([8, 16]),
    units=st.integers(1, 4),
    style=st.sampled_from(["chunk", "slices", "pairs"]),
    sampled=st.booleans(),
)
def test_any_stage_computes_the_same(half: int, units: int, style: str, sampled: bool) -> None:
    writer = stage(half, units, style)  # type: ignore[arg-type]
    end = f"v{len(writer.lines) - 1}"
    source = writer.model(writer.conv(end, 2 * half, 5), 3)
    survey = surveyed(source, np.ones(3)) if sampled else None
    rewritten(ReorderChannelsPass(survey=survey), source)
