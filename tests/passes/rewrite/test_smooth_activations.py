from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.graph.choices import note_choice
from onnxq.graph.query import weight_of
from onnxq.numerics.migration import Bits
from onnxq.passes.rewrite.smooth_activations import SmoothActivationsPass
from onnxq.runtime.survey import Survey
from tests.passes.rewrite.building import Outcome, build, rewritten, rng_weight
from tests.support import feeds_for, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

C = 12
"""Features of a value."""
OUTLIERS = [2, 7]


def survey(source: ir.Model, count: int = 8, batch: int = 2) -> Survey:
    still = source.clone()

    def samples(most: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
        return (feeds_for(still, seed, batch) for seed in range(min(most, count)))

    return Survey(samples)


def smoothed(
    source: ir.Model, *, per_channel: bool = True, bits: int = 8, convolutions: bool = False
) -> Outcome:
    made = SmoothActivationsPass({}, survey(source), per_channel=per_channel, bits=Bits(bits))
    return rewritten(made.configured({"convolutions": convolutions}), source)


def wide(*shape: int, axis: int = 0, seed: int = 0) -> npt.NDArray[np.float32]:
    """Normal numbers, those of two slices along ``axis`` sixty times as large."""
    array = np.moveaxis(rng_weight(*shape, seed=seed), axis, 0)
    array[OUTLIERS] *= 60
    return np.array(np.moveaxis(array, 0, axis))


def weight(source: ir.Model, node: str, position: int = 1) -> npt.NDArray[np.float32]:
    found = next(one for one in source.graph if one.outputs[0].name == node)
    array = weight_of(found.inputs[position])
    assert array is not None
    return np.array(array)


def declared(weights: Mapping[str, npt.ArrayLike]) -> str:
    texts = []
    for name, data in weights.items():
        array = np.asarray(data)
        dims = ",".join(map(str, array.shape))
        kind = "int64" if array.dtype.kind == "i" else "float"
        texts.append(f", {kind}[{dims}] {name}" if dims else f", {kind} {name}")
    return "".join(texts)


def network(
    body: str, out: str = "N,T,3", more: str = "", /, **weights: npt.NDArray[Any]
) -> ir.Model:
    """Returns LayerNormalization n of x with outlier features, then ``body``, which makes y."""
    known = {"g": wide(C), "o": rng_weight(C, seed=1), "w": rng_weight(C, 3, seed=2)} | weights
    used = {name: data for name, data in known.items() if name in "go" or f" {name})" in body}
    return build(
        f"""f (float[N,T,{C}] x{declared(used | weights)}) => (float[{out}] y{more}) {{
            n = LayerNormalization(x, g, o)
            {body} }}""",
        **(used | weights),
    )


def spread(source: ir.Model, value: str) -> float:
    """Returns by how much the widest feature of ``value`` exceeds the typical one."""
    copy = source.clone()
    wanted = next(v for node in copy.graph for v in node.outputs if v.name == value)
    copy.graph.outputs[:] = [wanted]
    array = np.abs(run(copy, feeds_for(source, batch=20))[value])
    most = array.reshape(-1, array.shape[-1]).max(axis=0)
    return float(most.max() / np.median(most))


# ---- it fires ------------------------------------------------------------------------------------


def test_rule_3_outliers_behind_a_norm_move_into_the_weights() -> None:
    source = network("y = MatMul(n, w)")
    before, rows = spread(source, "n"), weight(source, "y")
    assert smoothed(source).modified
    assert before > 30
    assert spread(source, "n") < before / 4
    grown = np.abs(weight(source, "y") / rows).mean(axis=1)
    assert set(np.argsort(grown)[-2:].tolist()) == set(OUTLIERS)


@pytest.mark.parametrize(
    "body",
    [
        "y = MatMul(n, w)",
        "r = Relu(n) y = MatMul(r, w)",
        "m = Mul(n, two) y = MatMul(m, w)",
        "m = Div(n, two) y = MatMul(m, w)",
        "r = Transpose<perm=[1,0,2]>(n) y = MatMul(r, w)",
        "a, b = Split<axis=2, num_outputs=2>(n) r = Concat<axis=2>(a, b) y = MatMul(n, w)",
        "p = MatMul(n, k) q = Add(p, c) r = Relu(q) y = MatMul(r, w)",
        "p = MatMul(n, k) q = Sub(c, p) y = MatMul(q, w)",
        "p = MatMul(n, k) a = MatMul(n, k2) s = Add(p, a) y = MatMul(s, w)",
        "p = MatMul(n, k) z = Sigmoid(n) s = Mul(z, p) y = MatMul(s, w)",
    ],
)
def test_rule_1_factors_pass(body: str) -> None:
    more: dict[str, npt.NDArray[Any]] = {
        name: data
        for name, data in {
            "k": wide(C, C, axis=1, seed=3),
            "k2": wide(C, C, axis=1, seed=4),
            "c": rng_weight(C, seed=5),
            "two": np.array(2, np.float32),
        }.items()
        if f"{name})" in body or f"({name}," in body
    }
    source = network(body, **more)
    last = next(node for node in source.graph if node.outputs[0].name == "y").inputs[0]
    assert last is not None
    before = spread(source, str(last.name))
    outcome = smoothed(source)
    if "Concat" in body:  # which others read: nothing is free there
        assert not outcome.modified
        return
    assert outcome.modified
    assert spread(source, str(last.name)) < before / 3


def test_rule_3_weights_of_few_bits_take_less_over() -> None:
    few, many = network("y = MatMul(n, w)"), network("y = MatMul(n, w)")
    smoothed(few, bits=3)
    smoothed(many)
    assert spread(few, "n") > 1.5 * spread(many, "n")


def test_all_readers_of_a_norm_share_its_factors() -> None:
    source = network(
        "a = MatMul(n, w) b = MatMul(n, w2) y = Add(a, b)", w2=rng_weight(C, 3, seed=6)
    )
    before = weight(source, "a"), weight(source, "b")
    assert smoothed(source).modified
    ratios = [weight(source, name) / old for name, old in zip("ab", before, strict=True)]
    np.testing.assert_allclose(ratios[0][:, 0], ratios[1][:, 0], rtol=1e-5)


def test_a_token_is_picked_and_read_by_a_gemm() -> None:
    source = network(
        "f = Gather<axis=1>(n, i) y = Gemm(f, v, b)",
        "N,3",
        i=np.array(0),
        v=rng_weight(C, 3),
        b=rng_weight(3),
    )
    before = spread(source, "f")
    assert smoothed(source).modified
    assert spread(source, "f") < before / 4


def test_a_norm_without_bias_and_one_whose_scale_others_share() -> None:
    source = build(
        f"""f (float[N,T,{C}] x, float[{C}] g, float[{C},{C}] w, float[{C},3] v)
            => (float[N,T,3] y) {{
            n = LayerNormalization(x, g)
            p = MatMul(n, w)
            q = Sigmoid(p)
            m = LayerNormalization(q, g)
            y = MatMul(m, v) }}""",
        g=wide(C),
        w=rng_weight(C, C),
        v=rng_weight(C, 3),
    )
    assert smoothed(source).modified
    assert not np.allclose(weight(source, "n"), weight(source, "m"))


def test_a_gain_after_a_norm_that_is_spelled_out_takes_the_factors() -> None:
    source = build(
        f"""f (float[N,T,{C}] x, float[{C}] g, float[{C},3] w) => (float[N,T,3] y) {{
            t = Tanh(x)
            n = Mul(t, g)
            y = MatMul(n, w) }}""",
        g=wide(C),
        w=rng_weight(C, 3),
    )
    before = spread(source, "n")
    assert smoothed(source).modified
    assert spread(source, "n") < before / 4


@cache
def attention() -> ir.Model:
    """Two heads with outlier features in the values, T tokens."""
    weights = {"q": rng_weight(C, C), "k": rng_weight(C, C, seed=1), "p": rng_weight(C, C, seed=3)}
    return network(
        """qm = MatMul(n, q) qs = Reshape(qm, cut) qt = Transpose<perm=[0,2,1,3]>(qs)
           km = MatMul(n, k) ks = Reshape(km, cut) kt = Transpose<perm=[0,2,3,1]>(ks)
           vm = MatMul(n, v) va = Add(vm, b) vs = Reshape(va, cut)
           vt = Transpose<perm=[0,2,1,3]>(vs)
           scores = MatMul(qt, kt) soft = Softmax(scores)
           mixed = MatMul(soft, vt) back = Transpose<perm=[0,2,1,3]>(mixed)
           flat = Reshape(back, whole) y = MatMul(flat, p)""",
        f"N,T,{C}",
        **{name: data * np.float32(0.05) for name, data in weights.items()},
        v=wide(C, C, axis=1, seed=2),
        b=rng_weight(C, seed=4),
        cut=np.array([0, 0, 2, C // 2]),
        whole=np.array([0, 0, C]),
    )


def test_the_values_of_an_attention_carry_factors_to_its_projection() -> None:
    source = attention().clone()
    before = spread(source, "flat")
    bias, columns = weight(source, "va", 1), np.abs(weight(source, "vm")).max(axis=0)
    assert smoothed(source).modified
    assert spread(source, "flat") < before / 4
    assert not np.allclose(weight(source, "va", 1), bias)
    assert np.abs(weight(source, "vm")).max(axis=0).std() < columns.std()


def test_a_gated_product_carries_the_factors_of_what_is_gated() -> None:
    source = network(
        "a = MatMul(n, k) u = MatMul(n, v) s = Sigmoid(a) z = Mul(a, s) p = Mul(z, u)"
        " y = MatMul(p, w)",
        k=rng_weight(C, C) * np.float32(0.02),
        v=wide(C, C, axis=1),
    )
    before = spread(source, "p")
    assert smoothed(source).modified
    assert spread(source, "p") < before / 4


@pytest.mark.parametrize(
    "between",
    [
        "d = Relu(c)",
        "d = LeakyRelu<alpha=0.1>(c)",
        "d = Identity(c)",
        "r = Relu(c) d = MaxPool<kernel_shape=[2,2]>(r)",
        "r = Relu(c) e = Conv<group=12>(r, k) d = Relu(e)",
    ],
)
@pytest.mark.parametrize("size", [1, 3])
def test_rule_5_convolutions_in_a_chain(between: str, size: int) -> None:
    extra = {"k": rng_weight(C, 1, 1, 1, seed=4)} if "k)" in between else {}
    source = build(
        f"""f (float[2,4,8,8] x, float[{C},4,3,3] w, float[{C}] b,
               float[5,{C},{size},{size}] v{declared(extra)}) => (float[2,5,H,W] y) {{
            c = Conv(x, w, b)
            {between}
            y = Conv(d, v) }}""",
        w=wide(C, 4, 3, 3),
        b=rng_weight(C),
        v=rng_weight(5, C, size, size),
        **extra,
    )
    before = np.abs(weight(source, "c")).max(axis=(1, 2, 3))
    assert not smoothed(source.clone()).modified
    assert smoothed(source, convolutions=True).modified
    after = np.abs(weight(source, "c")).max(axis=(1, 2, 3))
    assert after.max() / np.median(after) < before.max() / np.median(before) / 3


def test_what_is_added_on_axis_1_is_multiplied_along() -> None:
    source = build(
        f"""f (float[2,4,8,8] x, float[{C},4,3,3] w, float[{C},1,1] b, float[5,{C},1,1] v)
            => (float[2,5,6,6] y) {{
            c = Conv(x, w)
            d = Add(c, b)
            y = Conv(d, v) }}""",
        w=wide(C, 4, 3, 3),
        b=rng_weight(C, 1, 1),
        v=rng_weight(5, C, 1, 1),
    )
    assert smoothed(source, convolutions=True).modified


@pytest.mark.parametrize("bits", [8, 4])
def test_rule_5_convolutions_are_treated_where_activations_have_few_bits(bits: int) -> None:
    even = rng_weight(5, 2 * C, 1, 1)
    even[:, OUTLIERS] /= 60
    source = build(
        f"""f (float[2,4,8,8] x, float[{C},4,3,3] w, float[{C},4,3,3] u, float[5,{2 * C},1,1] v)
            => (float[2,5,6,6] y) {{
            c = Conv(x, w)
            d = Conv(x, u)
            e = Concat<axis=1>(c, d)
            y = Conv(e, v) }}""",
        w=wide(C, 4, 3, 3),
        u=rng_weight(C, 4, 3, 3, seed=1),
        v=even,
    )
    rewrite = SmoothActivationsPass({}, survey(source), bits=Bits(activation=bits))
    assert rewritten(rewrite, source).modified == (bits < 8)
    rows = np.abs(weight(source, "c")).max(axis=(1, 2, 3))
    assert (rows[OUTLIERS].max() > 20 * np.delete(rows, OUTLIERS).max()) == (bits == 8)


def test_recorded_means_are_multiplied_along() -> None:
    source = build(
        f"""f (float[2,4,8,8] x, float[{C},4,3,3] w, float[5,{C},1,1] v) => (float[2,5,6,6] y) {{
            c = Conv(x, w)
            d = Relu(c)
            y = Conv(d, v) }}""",
        w=wide(C, 4, 3, 3),
        v=rng_weight(5, C, 1, 1),
    )
    old = weight(source, "c")
    prior = {"c": (rng_weight(C), np.abs(rng_weight(C, seed=1)))}
    known = prior["c"]
    rewrite = SmoothActivationsPass(prior, survey(source)).configured({"convolutions": True})
    assert rewrite(source).modified
    factor = (weight(source, "c") / old)[:, 0, 0, 0]
    np.testing.assert_allclose(prior["c"][0], known[0] * factor, rtol=1e-5)
    np.testing.assert_allclose(prior["c"][1], known[1] * factor, rtol=1e-5)


# ---- it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("s = Sigmoid(n) m = MatMul(n, w) y = Mul(m, k)", "Sigmoid reads it as well: 1 layers"),
        ("s = Softmax(n) y = MatMul(s, w)", "what computes its input takes no factors: 1 layers"),
        ("z = LayerNormalization(n, g) y = MatMul(n, w)", "LayerNormalization reads it as well"),
        ("p = Transpose<perm=[0,2,1]>(n) s = MatMul(n, p) y = MatMul(n, w)", "reads it as well"),
        ("p = Mul(n, n) y = MatMul(n, w)", "Mul reads it as well"),
        ("p = Div(k, n) y = MatMul(n, w)", "Div reads it as well"),
        ("p = Add(n, x) y = MatMul(p, w)", "what computes its input takes no factors"),
        ("p = ReduceMean(n, last) y = MatMul(n, w)", "ReduceMean reads it as well"),
    ],
)
def test_rule_1_factors_do_not_pass(body: str, reason: str) -> None:
    more: dict[str, npt.NDArray[Any]] = {"k": rng_weight(3)} if " k)" in body else {}
    more |= {"k": rng_weight(C)} if "(k," in body else {}
    more |= {"last": np.array([-1])} if "last" in body else {}
    outcome = smoothed(network(body, **more))
    assert not outcome.modified
    assert any(reason in text for text in outcome.reasons)


def test_rule_1_graph_outputs_carry_none() -> None:
    outcome = smoothed(network("y = MatMul(n, w)", "N,T,3", f", float[N,T,{C}] n"))
    assert not outcome.modified
    assert outcome.reasons == ["its input carries no factors: it is a graph output: 1 layers"]


def test_rule_1_graph_inputs_carry_none() -> None:
    source = build(
        f"f (float[N,T,{C}] x, float[{C},3] w) => (float[N,T,3] y) {{ y = MatMul(x, w) }}",
        w=wide(C, 3),
    )
    assert not smoothed(source).modified


def test_rule_2_a_shared_weight_carries_none() -> None:
    source = network("a = MatMul(n, w) b = MatMul(x, w) y = Add(a, b)", w=rng_weight(C, 3))
    outcome = smoothed(source)
    assert not outcome.modified
    assert "its input carries no factors: MatMul reads it as well" not in outcome.reasons


def test_rule_4_even_channels_stay() -> None:
    source = network("y = MatMul(n, w)", g=np.ones(C), o=np.zeros(C), w=np.ones((C, 3)))
    outcome = rewritten(SmoothActivationsPass(None, survey(source, batch=40)), source)
    assert not outcome.modified
    assert any("its channels are even enough" in text for text in outcome.reasons)


def test_rule_4_without_samples_nothing_changes() -> None:
    outcome = rewritten(SmoothActivationsPass(), network("y = MatMul(n, w)"))
    assert not outcome.modified
    assert outcome.reasons == ["there are no samples to tell the channels' ranges"]


def test_rule_4_what_would_overflow_stays() -> None:
    table = rng_weight(C, 3) * np.float32(1e-3)
    table[OUTLIERS[0]] = np.float32(3e38)
    gain = np.full(C, 1e-30, np.float32)
    gain[OUTLIERS[0]] = np.float32(1e-36)
    gain[OUTLIERS[1]] = np.float32(1)
    source = network("y = MatMul(n, w)", g=gain, o=np.zeros(C), w=table)
    before = weight(source, "y")
    rewrite = SmoothActivationsPass(None, survey(source))
    modified = rewrite(source).modified
    assert np.isfinite(weight(source, "y")).all()
    assert modified or np.array_equal(weight(source, "y"), before)


def test_rule_6_with_one_scale_per_weight_only_norms_take_factors() -> None:
    source = network("p = MatMul(n, k) y = MatMul(p, w)", k=wide(C, C, axis=1))
    columns = np.abs(weight(source, "p")).max(axis=0)
    outcome = smoothed(source, per_channel=False)
    assert outcome.modified
    assert any("equalize-layers treats what layers write: 1 places" in t for t in outcome.reasons)
    after = np.abs(weight(source, "p")).max(axis=0)
    assert after.max() / np.median(after) > columns.max() / np.median(columns) / 3


def test_rule_6_after_equalize_layers_only_norms_take_factors() -> None:
    source = network("p = MatMul(n, k) y = MatMul(p, w)", k=wide(C, C, axis=1))
    note_choice(source, "equalize-layers", {})
    outcome = smoothed(source)
    assert any("equalize-layers treats what layers write: 1 places" in t for t in outcome.reasons)


# ---- any network ---------------------------------------------------------------------------------

_STEPS = st.sampled_from(
    [
        "{y} = Relu({x})",
        "{y} = LayerNormalization({x}, g{n}, o{n})",
        "{y} = MatMul({x}, w{n})",
        "{y}m = MatMul({x}, w{n}) {y} = Add({y}m, o{n})",
        "{y}m = MatMul({x}, w{n}) {y} = Add({x}, {y}m)",
        "{y}m = MatMul({x}, w{n}) {y}s = Sigmoid({x}) {y} = Mul({y}m, {y}s)",
        "{y} = Mul({x}, g{n})",
        (
            "{y}t = Transpose<perm=[0,2,1]>({x}) {y}a = MatMul({x}, {y}t) {y}b = Softmax({y}a)"
            " {y} = MatMul({y}b, {x})"
        ),
        (
            "{y}h = Reshape({x}, cut) {y}t = Transpose<perm=[0,2,1,3]>({y}h)"
            " {y}b = Transpose<perm=[0,2,1,3]>({y}t) {y} = Reshape({y}b, whole)"
        ),
        "{y}a, {y}c = Split<axis=2, num_outputs=2>({x}) {y} = Concat<axis=2>({y}c, {y}a)",
        "{y} = Sigmoid({x})",
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(_STEPS, min_size=2, max_size=8), st.integers(0, 99))
def test_any_network_keeps_its_function(steps: list[str], seed: int) -> None:
    names = [f"v{number}" for number in range(len(steps))] + ["y"]
    body = " ".join(s.format(x=names[n], y=names[n + 1], n=n) for n, s in enumerate(steps))
    weights: dict[str, npt.NDArray[Any]] = {}
    for n in range(len(steps)):
        # products of about 1: a Sigmoid of hundreds tells roundoff, not the function
        sizes = {"w": (C, C), "g": (C,), "o": (C,)}
        for kind, shape in sizes.items():
            if f" {kind}{n})" in body or f" {kind}{n}," in body:
                weights[f"{kind}{n}"] = wide(*shape, axis=-1, seed=seed + n) * np.float32(0.02)
    weights |= {"cut": np.array([0, 0, 2, C // 2])} if "cut" in body else {}
    weights |= {"whole": np.array([0, 0, C])} if "whole" in body else {}
    source = build(
        f"f (float[N,T,{C}] v0{declared(weights)}) => (float[N,T,{C}] y) {{ {body} }}", **weights
    )
    smoothed(source)
