from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.graph.query import weight_of
from onnxq.passes.rewrite.equalize_layers import EqualizeLayersPass
from onnxq.runtime.survey import Survey
from tests.passes.rewrite.building import build, rewritten, rng_weight
from tests.support import feeds_for

_HEAD = "f (float[2,4,6,6] x, float[6,4,3,3] w, float[6] b"


def uneven(*shape: int, axis: int = 0, seed: int = 0) -> npt.NDArray[np.float32]:
    """Weights whose slices along ``axis`` are of very different size."""
    sizes = np.exp2(np.random.default_rng(seed + 100).uniform(-5, 5, shape[axis]))
    column = [1] * len(shape)
    column[axis] = -1
    return np.asarray(rng_weight(*shape, seed=seed) * sizes.reshape(column), np.float32)


def chain(between: str, **weights: npt.ArrayLike) -> ir.Model:
    """Returns conv c → ``between`` → conv y, with uneven channels."""
    extra = "".join(f", float[{','.join(map(str, np.shape(w)))}] {n}" for n, w in weights.items())
    return build(
        f"""{_HEAD}, float[3,6,1,1] v{extra}) => (float[2,3,H,W] y) {{
            c = Conv(x, w, b)
            {between}
            y = Conv(d, v) }}""",
        w=uneven(6, 4, 3, 3),
        b=rng_weight(6),
        v=rng_weight(3, 6, 1, 1),
        **weights,
    )


def weight(source: ir.Model, node: str) -> npt.NDArray[np.float32]:
    found = next(one for one in source.graph if one.outputs[0].name == node)
    array = weight_of(found.inputs[1])
    assert array is not None
    return np.asarray(array)


def test_rule_3_both_sides_of_a_channel_get_the_same_range() -> None:
    source = chain("d = Relu(c)")
    before = np.abs(weight(source, "c")).max((1, 2, 3)), np.abs(weight(source, "y")).max((0, 2, 3))
    assert rewritten(EqualizeLayersPass(), source).modified
    rows = np.abs(weight(source, "c")).max((1, 2, 3))
    columns = np.abs(weight(source, "y")).max((0, 2, 3))
    np.testing.assert_allclose(rows, columns, rtol=0.05)
    np.testing.assert_allclose(rows, np.sqrt(before[0] * before[1]), rtol=0.05)


@pytest.mark.parametrize(
    "between",
    [
        "d = Relu(c)",
        "d = LeakyRelu<alpha=0.2>(c)",
        "d = Identity(c)",
        "d = MaxPool<kernel_shape=[2,2]>(c)",
        "d = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1]>(c)",
        "d = GlobalAveragePool(c)",
        "p = Constant<value_ints=[0,0,1,1,0,0,1,1]>() d = Pad(c, p)",
        'p = Constant<value_ints=[0,0,1,1,0,0,1,1]>() d = Pad<mode="reflect">(c, p)',
        "a = Constant<value_ints=[2,3]>() d = ReduceMean(c, a)",
        "z = Constant<value_float=0.0>() d = Clip(c, z)",
        's = Constant<value_floats=[1.0,1.0,2.0,2.0]>() d = Resize<mode="linear">(c, , s)',
        "e = Relu(c) g = Neg(e) d = Abs(g)",
        "e = Relu(c) d = Add(e, c)",
        "h, i = Split<axis=1, num_outputs=2>(c) d = Concat<axis=1>(i, h)",
        "h, i = Split<axis=2, num_outputs=2>(c) d = Concat<axis=2>(i, h)",
        "m = Constant<value_float=3.0>() d = Mul(c, m)",
        "g = GlobalAveragePool(x) q = ReduceMean(g) s = Sigmoid(q) d = Mul(c, s)",
    ],
)
def test_rule_1_factors_pass(between: str) -> None:
    assert rewritten(EqualizeLayersPass(), chain(between)).modified


@pytest.mark.parametrize(
    ("between", "name"),
    [
        ("d = Sigmoid(c)", "Sigmoid"),
        ("z = Constant<value_float=0.0>() d = Clip(c, z, k)", "Clip"),
        ("p = Constant<value_ints=[0,0,1,1,0,0,1,1]>() d = Pad(c, p, k)", "Pad"),
        ("d = Softmax<axis=1>(c)", "Softmax"),
        ("d = Mul(c, c)", "Mul"),
        ("d = Div(k, c)", "Div"),
        ("s = Sigmoid(c) d = Mul(c, s)", "Sigmoid"),
    ],
)
def test_rule_1_factors_do_not_pass(between: str, name: str) -> None:
    outcome = rewritten(EqualizeLayersPass(), chain(between, k=np.float32(6)))
    assert not outcome.modified
    assert outcome.reasons == [f"{name} lets no factors pass: 1 layers carry no factors"]


@pytest.mark.parametrize("shape", [(6,), (1, 6, 1, 1), ()], ids=str)
def test_what_is_added_is_multiplied_along(shape: tuple[int, ...]) -> None:
    k = rng_weight(*shape).reshape(shape) if shape else np.float32(2)
    k = k.reshape(6, 1, 1) if shape == (6,) else k
    for operation in ("Add(c, k)", "Sub(k, c)"):
        assert rewritten(EqualizeLayersPass(), chain(f"d = {operation}", k=k)).modified


def test_prelu_lets_factors_pass_if_its_slope_is_constant() -> None:
    slope = np.abs(rng_weight(6, 1, 1))
    assert rewritten(EqualizeLayersPass(), chain("d = PRelu(c, k)", k=slope)).modified
    source = chain("g = GlobalAveragePool(c) d = PRelu(c, g)")
    assert not rewritten(EqualizeLayersPass(), source).modified


def test_a_depthwise_layer_stands_between_two_factors() -> None:
    source = build(
        f"""{_HEAD}, float[6,1,3,3] k, float[3,6,1,1] v) => (float[2,3,2,2] y) {{
            c = Conv(x, w, b)
            r = Relu(c)
            d = Conv<group=6>(r, k)
            s = Relu(d)
            y = Conv(s, v) }}""",
        w=uneven(6, 4, 3, 3),
        b=rng_weight(6),
        k=uneven(6, 1, 3, 3, seed=1),
        v=uneven(3, 6, 1, 1, axis=1, seed=2),
    )
    assert rewritten(EqualizeLayersPass(), source).modified
    sides = [
        np.abs(weight(source, "c")).max((1, 2, 3)),
        np.abs(weight(source, "d")).max((1, 2, 3)),
        np.abs(weight(source, "y")).max((0, 2, 3)),
    ]
    np.testing.assert_allclose(sides[0], sides[1], rtol=0.05)
    np.testing.assert_allclose(sides[1], sides[2], rtol=0.05)


def test_a_residual_sum_carries_one_factor_per_channel() -> None:
    source = build(
        f"""{_HEAD}, float[6,6,1,1] k, float[3,6,1,1] v) => (float[2,3,4,4] y) {{
            c = Conv(x, w, b)
            r = Relu(c)
            d = Conv(r, k)
            s = Add(r, d)
            y = Conv(s, v) }}""",
        w=uneven(6, 4, 3, 3),
        b=rng_weight(6),
        k=rng_weight(6, 6, 1, 1, seed=1),
        v=rng_weight(3, 6, 1, 1, seed=2),
    )
    assert rewritten(EqualizeLayersPass(), source).modified


def test_flatten_repeats_a_channel_s_factor() -> None:
    source = build(
        f"""{_HEAD}, float[96,5] v) => (float[2,5] y) {{
            c = Conv(x, w, b)
            r = Relu(c)
            d = Flatten(r)
            y = Gemm(d, v) }}""",
        w=uneven(6, 4, 3, 3),
        b=rng_weight(6),
        v=rng_weight(96, 5),
    )
    before = weight(source, "y")
    assert rewritten(EqualizeLayersPass(), source).modified
    ratio = (weight(source, "y") / before).reshape(6, 16, 5)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1], ratio.shape), rtol=1e-5)


@pytest.mark.parametrize(("kind", "shape"), [("Gemm<transB=1>", (3, 6)), ("MatMul", (6, 3))])
def test_layers_of_rank_2(kind: str, shape: tuple[int, int]) -> None:
    source = build(
        f"""f (float[2,4] x, float[4,6] w, float[6] b, float[{shape[0]},{shape[1]}] v)
            => (float[2,3] y) {{
            c = Gemm(x, w, b)
            r = Relu(c)
            y = {kind}(r, v) }}""",
        w=uneven(4, 6, axis=1),
        b=rng_weight(6),
        v=rng_weight(*shape),
    )
    assert rewritten(EqualizeLayersPass(), source).modified


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_and_grouped_convolutions(groups: int) -> None:
    source = build(
        f"""f (float[2,4,6,6] x, float[4,{6 // groups},2,2] w, float[6] b,
               float[4,{6 // groups},1,1] v) => (float[2,4,7,7] y) {{
            c = ConvTranspose<group={groups}>(x, w, b)
            r = Relu(c)
            y = Conv<group={groups}>(r, v) }}""",
        w=uneven(4, 6 // groups, 2, 2, axis=1),
        b=rng_weight(6),
        v=rng_weight(4, 6 // groups, 1, 1),
    )
    assert rewritten(EqualizeLayersPass(), source).modified


def test_rule_2_a_shared_weight_carries_no_factors() -> None:
    source = build(
        """f (float[2,4,6,6] x, float[4,4,1,1] w) => (float[2,4,6,6] y) {
            c = Conv(x, w)
            r = Relu(c)
            y = Conv(r, w) }""",
        w=uneven(4, 4, 1, 1),
    )
    assert not rewritten(EqualizeLayersPass(), source).modified


def test_graph_inputs_and_outputs_carry_no_factors() -> None:
    source = build(
        f"""{_HEAD}, float[3,6,1,1] v) => (float[2,3,4,4] y, float[2,6,4,4] r) {{
            c = Conv(x, w, b)
            r = Relu(c)
            y = Conv(r, v) }}""",
        w=uneven(6, 4, 3, 3),
        b=rng_weight(6),
        v=rng_weight(3, 6, 1, 1),
    )
    assert not rewritten(EqualizeLayersPass(), source).modified


def test_rule_4_what_would_overflow_stays() -> None:
    source = chain("d = Relu(c)")
    conv = next(node for node in source.graph if node.outputs[0].name == "c")
    huge = np.array(weight(source, "c"))
    huge[0], huge[1] = np.float32(1e-3), np.float32(3e38)
    conv.inputs[1].const_value = ir.tensor(huge, name="w")  # type: ignore[union-attr]
    bias = np.full(6, 3e38, np.float32)
    conv.inputs[2].const_value = ir.tensor(bias, name="b")  # type: ignore[union-attr]
    rewrite = EqualizeLayersPass()
    assert not rewrite(source).modified
    assert [note.text for note in rewrite.take_notes()][-1] == "its weight would overflow"
    np.testing.assert_array_equal(weight(source, "c"), huge)


def test_recorded_means_are_multiplied_along() -> None:
    source = chain("d = Relu(c)")
    before = np.array(weight(source, "c"))
    prior = {"c": (rng_weight(6), np.abs(rng_weight(6, seed=1)))}
    known = prior["c"]
    assert EqualizeLayersPass(prior)(source).modified
    factor = (weight(source, "c") / before)[:, 0, 0, 0]
    np.testing.assert_allclose(prior["c"][0], known[0] * factor, rtol=1e-5)
    np.testing.assert_allclose(prior["c"][1], known[1] * factor, rtol=1e-5)


# ---- rule 5: Clip with an upper bound -----------------------------------------------------------


def observed(source: ir.Model) -> EqualizeLayersPass:
    """The pass with two samples, the first of which is the one that functions are compared on."""
    original = source.clone()
    return EqualizeLayersPass(
        survey=Survey(lambda count: [feeds_for(original, seed) for seed in range(min(count, 2))])
    )


def greatest(source: ir.Model) -> npt.NDArray[np.float64]:
    """Returns the greatest number in each channel of c."""
    found = observed(source).survey
    assert found is not None
    channels = found.observe(source, ["c"])["c"].channels
    assert channels is not None
    return channels.maximum


def clipped(bound: float, low: float = 0.0, **weights: npt.ArrayLike) -> ir.Model:
    return chain("d = Clip(c, low, k)", low=np.float32(low), k=np.float32(bound), **weights)


def test_rule_5_a_clip_that_no_sample_comes_near_is_a_relu() -> None:
    source, relu = clipped(1e9), chain("d = Relu(c)")
    rewrite = observed(source)
    assert rewrite(source).modified
    assert rewrite.take_notes()[-1].text.endswith(
        "; through 1 Clip (node_d) in channels that no sample brings further than 33% of the way to"
        " the bound"
    )
    EqualizeLayersPass()(relu)
    np.testing.assert_array_equal(weight(source, "y"), weight(relu, "y"))


def test_rule_5_no_channel_is_brought_nearer_than_a_third() -> None:
    def read_loudly(source: ir.Model) -> ir.Model:
        value = source.graph.initializers["v"]
        value.const_value = ir.tensor(1e4 * weight(source, "y"), name="v")
        return source

    bound = 6 * float(greatest(chain("d = Relu(c)")).max())
    free, held = read_loudly(chain("d = Relu(c)")), read_loudly(clipped(bound))
    EqualizeLayersPass()(free)
    assert greatest(free).max() > bound
    assert rewritten(observed(held), held).modified
    np.testing.assert_allclose(greatest(held).max(), bound / 3, rtol=1e-4)


def test_rule_5_channels_that_come_near_carry_none() -> None:
    source = clipped(1.0)
    bound = float(np.sort(greatest(source))[2])
    source = clipped(bound)
    before, reached = weight(source, "c").copy(), greatest(source) / bound
    outcome = rewritten(observed(source), source)
    near = reached > 1 / 3
    assert outcome.modified
    (reason,) = outcome.reasons
    assert reason == (
        f"{near.sum()} of 6 channels carry no factors: samples go further than 33% of the way to"
        f" its bound, up to {reached.max():.0%}"
    )
    changed = (weight(source, "c") != before).any((1, 2, 3))
    assert not changed[near].any()
    assert changed[~near].any()


def test_rule_5_a_clip_that_all_channels_reach_carries_none() -> None:
    source = clipped(float(greatest(chain("d = Relu(c)")).min()))
    assert not rewritten(observed(source), source).modified


def test_rule_5_a_lower_bound_below_0_counts_as_well() -> None:
    far, near = clipped(1e9, low=-1e9), clipped(1e9, low=-1e-3)
    assert rewritten(observed(far), far).modified
    assert not rewritten(observed(near), near).modified


def test_rule_5_channels_of_rank_3() -> None:
    source = build(
        """f (float[2,4,6] x, float[6,4,3] w, float low, float k, float[3,6,1] v)
            => (float[2,3,4] y) {
            c = Conv(x, w)
            d = Clip(c, low, k)
            y = Conv(d, v) }""",
        w=uneven(6, 4, 3),
        low=0.0,
        k=1e9,
        v=rng_weight(3, 6, 1),
    )
    assert rewritten(observed(source), source).modified


_STEPS = st.sampled_from(
    [
        "{y} = Relu({x})",
        "{y} = LeakyRelu<alpha=0.1>({x})",
        "{y} = Sigmoid({x})",
        "{y} = Clip({x}, low, high)",
        "{y} = Conv({x}, w{n})",
        "{y} = Conv<group=4>({x}, k{n})",
        "{y}c = Conv({x}, w{n}) {y} = Add({x}, {y}c)",
        "{y}a, {y}b = Split<axis=1, num_outputs=2>({x}) {y} = Concat<axis=1>({y}b, {y}a)",
        "{y} = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({x})",
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_STEPS, min_size=1, max_size=7), st.integers(0, 99))
def test_any_network_keeps_its_function(steps: list[str], seed: int) -> None:
    names = [f"v{number}" for number in range(len(steps))] + ["y"]
    body = [s.format(x=names[n], y=names[n + 1], n=n) for n, s in enumerate(steps)]
    weights = {
        f"{kind}{n}": uneven(4, 4 if kind == "w" else 1, 1, 1, seed=seed + n)
        for n, step in enumerate(body)
        for kind in ("w", "k")
        if f"{kind}{n})" in step
    }
    heads = "".join(f", float[4,{array.shape[1]},1,1] {n}" for n, array in weights.items())
    heads += ", float low, float high"
    text = f"f (float[2,4,5,5] v0{heads}) => (float[2,4,5,5] y) {{ {' '.join(body)} }}"
    source = build(text, low=0.0, high=6.0, **weights)
    rewritten(observed(source), source)
