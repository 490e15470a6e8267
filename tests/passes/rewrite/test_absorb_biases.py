from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnxq.graph.query import weight_of
from onnxq.passes.rewrite.absorb_biases import AbsorbBiasesPass
from onnxq.runtime.survey import Survey
from tests.passes.rewrite.building import build, rewritten, rng_weight
from tests.support import feeds_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

_HIGH = np.array([60, 0, 50, 40, -3, 80], np.float32)


def survey_of(source: ir.Model, *, seeds: int = 4) -> Survey:
    """Random samples, of which ``feeds_for(source)`` is the first."""
    original = source.clone()

    def samples(count: int) -> Iterable[dict[str, npt.NDArray[Any]]]:
        return islice((feeds_for(original, seed) for seed in range(seeds)), count)

    return Survey(samples)


def absorbing(
    source: ir.Model, prior: dict[str, tuple[npt.NDArray[np.float32], ...]] | None = None
) -> AbsorbBiasesPass:
    return AbsorbBiasesPass(prior, survey_of(source))  # type: ignore[arg-type]


def chain(
    between: str,
    reader: str = "y = Conv(d, v, a)",
    *,
    more_outputs: str = "",
    bias: npt.NDArray[np.float32] = _HIGH,
    **weights: npt.ArrayLike,
) -> ir.Model:
    """Returns conv c, some of whose biases are high → ``between`` → conv y."""
    given = {
        "w": rng_weight(6, 4, 3, 3),
        "b": bias,
        "v": rng_weight(3, 6, 1, 1, seed=1),
        "a": rng_weight(3),
        **weights,
    }
    heads = "".join(f", float[{','.join(map(str, np.shape(w)))}] {n}" for n, w in given.items())
    return build(
        f"""f (float[2,4,6,6] x{heads})
            => (float[2,3,H,W] y{more_outputs}) {{
            c = Conv(x, w, b)
            {between}
            {reader} }}""",
        **given,
    )


def bias(source: ir.Model, value: str) -> npt.NDArray[np.float32]:
    found = next(node for node in source.graph if node.outputs[0].name == value)
    array = weight_of(found.inputs[2])
    assert array is not None
    return np.asarray(array)


def test_a_high_bias_is_taken_off_and_put_back_behind() -> None:
    source = chain("d = Relu(c)")
    columns = np.asarray(weight_of(next(n for n in source.graph if n.name == "node_y").inputs[1]))
    before = bias(source, "y")
    assert rewritten(absorbing(source), source).modified
    taken = _HIGH - bias(source, "c")
    assert (taken[[0, 2, 3, 5]] > 5).all()
    np.testing.assert_array_equal(taken[[1, 4]], 0)
    expected = before + columns[:, :, 0, 0] @ taken
    np.testing.assert_allclose(bias(source, "y"), expected, rtol=1e-5)


def test_rule_3_what_remains_has_twice_the_room_that_the_samples_took() -> None:
    source = chain("d = Relu(c)")
    survey = survey_of(source)
    assert AbsorbBiasesPass(survey=survey)(source).modified
    seen = survey.observe(source, ["c"])["c"].channels
    assert seen is not None
    room = np.minimum(2 * seen.minimum - seen.mean, seen.mean - 3 * seen.std)
    np.testing.assert_allclose(room[[0, 2, 3, 5]], 0, atol=1e-4)


@pytest.mark.parametrize(
    "between",
    [
        "d = LeakyRelu<alpha=0.2>(c)",
        "d = PRelu(c, k)",
        "z = Constant<value_float=0.0>() d = Clip(c, z)",
        "z = Constant<value_float=0.0>() d = Clip(c, z, far)",
        "z = Constant<value_float=-1.0>() d = Clip(c, z, far)",
    ],
)
def test_rule_1_other_rectifiers(between: str) -> None:
    source = chain(between, k=rng_weight(6, 1, 1), far=np.float32(1000))
    assert rewritten(absorbing(source), source).modified


@pytest.mark.parametrize(
    "between",
    [
        "e = Relu(c) d = MaxPool<kernel_shape=[2,2], pads=[1,1,1,1]>(e)",
        "e = Relu(c) d = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1]>(e)",
        "e = Relu(c) d = AveragePool<kernel_shape=[2,2], count_include_pad=1>(e)",
        "e = Relu(c) d = GlobalAveragePool(e)",
        "e = Relu(c) i = Constant<value_ints=[2,3]>() d = ReduceMean(e, i)",
        "e = Relu(c) h, i = Split<axis=1, num_outputs=2>(e) d = Concat<axis=1>(i, h)",
        "e = Relu(c) h, i = Split<axis=2, num_outputs=2>(e) d = Concat<axis=2>(i, h)",
        "e = Relu(c) p = MaxPool<kernel_shape=[1,1]>(e) q = Concat<axis=2>(e, p) d = Identity(q)",
        "e = Relu(c) d = Transpose<perm=[0,1,3,2]>(e)",
    ],
)
def test_rule_2_what_may_stand_in_between(between: str) -> None:
    source = chain(between)
    assert rewritten(absorbing(source), source).modified


def test_rule_2_flatten_repeats_a_channel_s_shift() -> None:
    source = build(
        """f (float[2,4,6,6] x, float[6,4,3,3] w, float[6] b, float[96,5] v) => (float[2,5] y) {
            c = Conv(x, w, b)
            r = Relu(c)
            d = Flatten(r)
            y = MatMul(d, v) }""",
        w=rng_weight(6, 4, 3, 3),
        b=_HIGH,
        v=rng_weight(96, 5),
    )
    outcome = rewritten(absorbing(source), source)
    assert outcome.modified
    assert outcome.ops[-1] == "Gemm"


def test_rule_2_what_is_joined_from_elsewhere_stays() -> None:
    source = chain(
        "lo = Constant<value_ints=[0,0,0]>() hi = Constant<value_ints=[1,4,4]>()"
        " at = Constant<value_ints=[1,2,3]>() s = Slice(x, lo, hi, at)"
        " e = Relu(c) d = Concat<axis=1>(s, e)",
        v=rng_weight(3, 7, 1, 1),
    )
    assert rewritten(absorbing(source), source).modified


_SAME = "Conv 'node_y' reads it, and sees zeros beyond the border"


@pytest.mark.parametrize(
    ("between", "reader", "reason"),
    [
        ("d = Relu(c)", "y = Conv<pads=[0,1,0,0]>(d, v, a)", _SAME),
        ('d = Relu(c)', 'y = Conv<auto_pad="SAME_UPPER">(d, v, a)', _SAME),
        ("d = Relu(c)", "y = ConvTranspose(d, t)",
         "ConvTranspose 'node_y' reads it, and sees zeros beyond the border"),
        ("r = Relu(c) p = Constant<value_ints=[0,0,1,1,0,0,1,1]>() d = Pad(r, p)",
         "y = Conv(d, v, a)", "Pad 'node_d' reads it"),
        ("r = Relu(c) d = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1], count_include_pad=1>(r)",
         "y = Conv(d, v, a)", "AveragePool 'node_d' reads it"),
        ("r = Relu(c) d = Sigmoid(r)", "y = Conv(d, v, a)", "Sigmoid 'node_d' reads it"),
        ("d = Relu(c)", "g = Conv(d, v, a) q = Conv(d, v, a) y = Add(g, q)",
         "Conv 'node_g' reads it, and its weight is shared"),
        ("d = Relu(c)", "g = Conv(d, v, a) q = Add(d, d) o = Conv(q, u) y = Add(g, o)",
         "Add 'node_q' reads it"),
    ],
)  # fmt: skip
def test_rule_2_what_cannot_make_up_for_it(between: str, reader: str, reason: str) -> None:
    source = chain(between, reader, t=rng_weight(6, 3, 1, 1), u=rng_weight(3, 6, 1, 1))
    outcome = rewritten(absorbing(source), source)
    assert not outcome.modified
    assert outcome.reasons == [reason]


def test_rule_2_a_graph_output_stays() -> None:
    source = chain("d = Relu(c)", more_outputs=", float[2,6,4,4] d")
    outcome = rewritten(absorbing(source), source)
    assert outcome.reasons == ["a graph output holds it"]


def test_rule_2_channels_are_blocked_one_by_one() -> None:
    source = chain(
        "r = Relu(c) h, d = Split<axis=1, num_outputs=2>(r) g = Sigmoid(h)",
        more_outputs=", float[2,3,4,4] g",
        v=rng_weight(3, 3, 1, 1),
    )
    outcome = rewritten(absorbing(source), source)
    assert outcome.modified
    assert outcome.reasons == [f"channel {n}: Sigmoid 'node_g' reads it" for n in (0, 2)]
    np.testing.assert_array_equal(bias(source, "c")[:3], _HIGH[:3])


def test_rule_1_a_layer_that_others_read_stays() -> None:
    for more in (", float[2,6,4,4] c", ", float[2,6,4,4] other"):
        source = chain("d = Relu(c) other = Abs(c)", more_outputs=more)
        outcome = rewritten(absorbing(source), source)
        assert outcome.reasons == ["others read it too, or it is a graph output"]


def test_rule_1_a_shared_weight_stays() -> None:
    source = chain("o = Conv(x, w) d = Relu(c)", more_outputs=", float[2,6,4,4] o")
    outcome = rewritten(absorbing(source), source)
    assert outcome.reasons == ["its weight is shared"]


def test_rule_1_a_product_of_rank_3_stays() -> None:
    source = build(
        """f (float[2,3,4] x, float[4,3] w, float[3,5] v) => (float[2,3,5] y) {
            c = MatMul(x, w)
            r = Relu(c)
            y = MatMul(r, v) }""",
        w=rng_weight(4, 3),
        v=rng_weight(3, 5),
    )
    outcome = rewritten(absorbing(source), source)
    assert outcome.reasons == ["its input is not known to have rank 2"]


def test_rule_3_without_samples_nothing_is_taken_off() -> None:
    outcome = rewritten(AbsorbBiasesPass(), chain("d = Relu(c)"))
    assert outcome.reasons == ["there are no samples to decide by"]


def test_rule_3_a_channel_that_falls_below_0_stays() -> None:
    source = chain("d = Relu(c)", bias=np.zeros(6, np.float32))
    outcome = rewritten(absorbing(source), source)
    assert outcome.reasons == ["no channel stays far enough above 0"]


def test_rule_3_what_training_saw_may_be_less() -> None:
    low, high = np.full(6, 10, np.float32), np.full(6, 2, np.float32)
    source = chain("d = Relu(c)")
    assert rewritten(absorbing(source, {"c": (low, high)}), source).modified
    np.testing.assert_allclose((_HIGH - bias(source, "c"))[[0, 2, 3, 5]], 4, rtol=1e-4)


def test_rule_3_a_channel_that_is_constant_stays() -> None:
    weight = rng_weight(6, 4, 3, 3) * np.array([1, 1, 1, 1, 1, 0])[:, None, None, None]
    source = chain("d = Relu(c)", bias=np.array([0, 0, 0, 0, 0, 5], np.float32), w=weight)
    assert not rewritten(absorbing(source), source).modified


def test_recorded_means_move_along() -> None:
    source = chain("d = Relu(c)")
    prior = {"c": (_HIGH, np.ones(6, np.float32))}
    assert absorbing(source, prior)(source).modified  # type: ignore[arg-type]
    np.testing.assert_allclose(prior["c"][0], bias(source, "c"), rtol=1e-5)
    np.testing.assert_array_equal(prior["c"][1], 1)


def test_rule_4_a_small_part_of_the_range_is_not_worth_it() -> None:
    weight = rng_weight(6, 4, 3, 3) * np.array([1, 1, 0.001, 1, 1, 0.05])[:, None, None, None]
    source = chain("d = Relu(c)", bias=np.array([0, 0, 0.1, 0, 0, 5], np.float32), w=weight)
    assert rewritten(absorbing(source), source).modified
    changed = bias(source, "c") != [0, 0, np.float32(0.1), 0, 0, 5]
    np.testing.assert_array_equal(changed, [False, False, False, False, False, True])


def test_rule_5_channels_near_the_bound_of_a_clip_stay() -> None:
    source = chain("z = Constant<value_float=0.0>() d = Clip(c, z, k)", k=np.float32(192))
    assert rewritten(absorbing(source), source).modified
    changed = bias(source, "c") != _HIGH
    np.testing.assert_array_equal(changed, [False, False, False, True, False, False])


def test_rule_6_what_would_overflow_stays() -> None:
    source = chain("d = Relu(c)", v=np.full((3, 6, 1, 1), 1e38, np.float32))
    rewrite = AbsorbBiasesPass(survey=survey_of(chain("d = Relu(c)")))
    assert not rewrite(source).modified
    assert rewrite.take_notes()[-1].text == "its bias would overflow"
    np.testing.assert_array_equal(bias(source, "c"), _HIGH)


_RELU, _CONV = "{y} = Relu({x})", "{y} = Conv({x}, w{n}, b{n})"
_GROUPED = "{y}c = Conv<group=4>({x}, k{n}, b{n}) {y} = Relu({y}c)"
_STEPS = st.sampled_from(
    [
        _RELU,
        "{y} = LeakyRelu<alpha=0.1>({x})",
        _CONV,
        "{y}c = Conv({x}, w{n}, b{n}) {y} = Relu({y}c)",
        _GROUPED,
        "{y}c = Conv({x}, w{n}, b{n}) {y} = Add({x}, {y}c)",
        "{y}a, {y}b = Split<axis=1, num_outputs=2>({x}) {y} = Concat<axis=1>({y}b, {y}a)",
        "{y} = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({x})",
        "{y} = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>({x})",
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_STEPS, min_size=1, max_size=7), st.integers(0, 99))
@example([_RELU, *[_GROUPED] * 3, _CONV], 4)  # channels that are constant
def test_any_network_keeps_its_function(steps: list[str], seed: int) -> None:
    names = [f"v{number}" for number in range(len(steps))] + ["y"]
    body = [s.format(x=names[n], y=names[n + 1], n=n) for n, s in enumerate(steps)]
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for n, step in enumerate(body):
        for kind, inputs in (("w", 4), ("k", 1)):
            if f"{kind}{n}," in step:
                weights[f"{kind}{n}"] = rng_weight(4, inputs, 1, 1, seed=seed + n)
                weights[f"b{n}"] = 3 * rng_weight(4, seed=seed + n) + np.float32(2)
    heads = "".join(f", float[{','.join(map(str, w.shape))}] {n}" for n, w in weights.items())
    text = f"f (float[2,4,5,5] v0{heads}) => (float[2,4,5,5] y) {{ {' '.join(body)} }}"
    source = build(text, **weights)
    rewritten(absorbing(source), source)
