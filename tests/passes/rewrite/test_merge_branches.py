from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.passes.rewrite.merge_branches import MergeBranchesPass
from tests.passes.rewrite.building import build, rewritten, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

_SMALL = np.full((1, 4, 1, 1), 0.3, np.float32)


def _graph(
    body: str, shape: str = "2,4,9,9", outputs: str = "float[A,B,C,D] y", /, **more: npt.ArrayLike
) -> ir.Model:
    """Weights: w5, w3, w1, v1 (4 to 4 channels), d3, d1 (depthwise), biases b, c, ``more``."""
    arrays: dict[str, npt.ArrayLike] = {
        "w5": rng_weight(4, 4, 5, 5, seed=1),
        "w3": rng_weight(4, 4, 3, 3, seed=2),
        "w1": rng_weight(4, 4, 1, 1, seed=3),
        "v1": rng_weight(4, 4, 1, 1, seed=4),
        "d3": rng_weight(4, 1, 3, 3, seed=5),
        "d1": rng_weight(4, 1, 1, 1, seed=6),
        "b": rng_weight(4, seed=7),
        "c": rng_weight(4, seed=8),
        "s": _SMALL,
        **more,
    }
    used = {k: np.asarray(a) for k, a in arrays.items() if _reads(body, k)}
    types = [f"float[{','.join(map(str, a.shape))}] {name}" for name, a in used.items()]
    head = ", ".join([f"float[{shape}] x", *types])
    return build(f"f ({head}) => ({outputs}) {{ {body} }}", **used)


def _reads(body: str, name: str) -> bool:
    return any(
        name == word for word in body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    )


_SAME3 = "Conv<pads=[1,1,1,1]>"


def test_a_repvgg_block_becomes_one_convolution() -> None:
    norm = {name: rng_weight(4, seed=seed) for seed, name in enumerate("gem")}
    graph = _graph(
        f"""k = {_SAME3}(x, w3, b)
            o = Conv(x, w1, c)
            n = BatchNormalization(x, g, e, m, v)
            t = Add(k, o)
            u = Add(t, n)
            y = Relu(u)""",
        **norm,
        v=np.abs(rng_weight(4, seed=3)) + np.float32(0.5),
    )
    assert rewritten(MergeBranchesPass(), graph).ops == ["Conv", "Relu"]


_MERGE_WHOLLY = {
    "two": f"k = {_SAME3}(x, w3)\n o = Conv(x, w1)\n y = Add(k, o)",
    "bias": f"k = {_SAME3}(x, w3, b)\n o = Conv(x, w1)\n y = Add(o, k)",
    "identity": f"k = {_SAME3}(x, w3, b)\n y = Add(k, x)",
    "affine": f"k = {_SAME3}(x, w3)\n n = Mul(x, s)\n p = Add(n, s)\n y = Add(p, k)",
    "1x1": "k = Conv(x, w1)\n o = Conv(x, v1)\n y = Add(k, o)",
    "strides": """k = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w3)
        o = Conv<strides=[2,2]>(x, w1, b)
        y = Add(k, o)""",
    "depthwise": """k = Conv<group=4, pads=[1,1,1,1]>(x, d3, b)
        o = Conv<group=4>(x, d1, c)
        t = Add(x, k)
        y = Add(t, o)""",
    "automatic": """k = Conv<auto_pad="SAME_UPPER">(x, w3)
        o = Conv<auto_pad="VALID">(x, w1)
        y = Add(k, o)""",
    "four": f"""k = {_SAME3}(x, w3)
        o = Conv(x, w1)
        q = Conv(x, v1, b)
        l = Conv<pads=[2,2,2,2]>(x, w5)
        t = Add(k, o)
        u = Add(q, l)
        y = Add(t, u)""",
}


@pytest.mark.parametrize("body", _MERGE_WHOLLY.values(), ids=_MERGE_WHOLLY)
def test_all_branches_become_one_convolution(body: str) -> None:
    assert rewritten(MergeBranchesPass(), _graph(body)).ops == ["Conv"]


def test_even_size_and_one_sided_padding_as_tensorflow_writes_strides() -> None:
    graph = _graph(
        """k = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w3)
           o = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w1)
           y = Add(k, o)""",
        "2,4,8,8",
    )
    assert rewritten(MergeBranchesPass(), graph).ops == ["Conv"]


def test_dilated_kernels_are_laid_over_a_large_one() -> None:
    graph = _graph(
        """k = Conv<group=4, pads=[3,3,3,3]>(x, d7)
            o = Conv<group=4, dilations=[2,2], pads=[2,2,2,2]>(x, d3)
            t = Add(k, o)
            y = Add(t, x)""",
        d7=rng_weight(4, 1, 7, 7),
    )
    assert rewritten(MergeBranchesPass(), graph).ops == ["Conv"]


def test_kernels_of_one_dilation_keep_it() -> None:
    graph = _graph(
        """k = Conv<dilations=[2,2], pads=[2,2,2,2]>(x, w3)
           o = Conv(x, w1)
           y = Add(k, o)"""
    )
    rewritten(MergeBranchesPass(), graph)
    (conv,) = graph.graph
    assert conv.attributes.get_ints("dilations") == (2, 2)
    assert conv.attributes.get_ints("kernel_shape") == (3, 3)


_SIZES = st.sampled_from([1, 3, 5])


@settings(max_examples=60, deadline=None)
@given(
    kernels=st.lists(st.tuples(_SIZES, _SIZES), min_size=2, max_size=4),
    stride=st.integers(1, 3),
    size=st.integers(5, 12),
    group=st.sampled_from([1, 2, 4]),
    identity=st.booleans(),
    dynamic=st.booleans(),
)  # fmt: skip
def test_any_branches_compute_the_same(
    kernels: list[tuple[int, int]],
    stride: int,
    size: int,
    group: int,
    identity: bool,
    dynamic: bool,
) -> None:
    weights = {
        f"k{i}": rng_weight(4, 4 // group, *kernel, seed=i) for i, kernel in enumerate(kernels)
    }
    largest = rng_weight(4, 4 // group, 5, 5, seed=9)
    lines, total = [], "a"
    for i, (high, wide) in enumerate([(5, 5), *kernels]):
        pads = f"{high // 2},{wide // 2},{high // 2},{wide // 2}"
        attributes = f"group={group}, strides=[{stride},{stride}], pads=[{pads}]"
        lines.append(f"c{i} = Conv<{attributes}>(x, {'w' if i == 0 else f'k{i - 1}'})")
        lines.append(f"a{i} = Add({total}, c{i})" if i else "")
        total = f"a{i}" if i else "c0"
    if identity and stride == 1:
        lines.append(f"i = Add(x, {total})")
        total = "i"
    lines.append(f"y = Relu({total})")
    shape = "2,4,H,W" if dynamic else f"2,4,{size},{size}"
    graph = _graph("\n".join(lines), shape, w=largest, **weights)
    feeds = {"x": rng_weight(2, 4, size, size)}
    assert rewritten(MergeBranchesPass(), graph, feeds).ops == ["Conv", "Relu"]


_TERMS = {
    "dense": "Conv<pads=[{p},{p},{p},{p}]>({x}, w{k})",
    "depthwise": "Conv<group=4, pads=[{p},{p},{p},{p}]>({x}, d{k}, b)",
    "scaled": "Mul({x}, s)",
    "shifted": "Sub(c4, {x})",
    "itself": "Identity({x})",
}


@settings(max_examples=80, deadline=None)
@given(
    terms=st.lists(
        st.tuples(st.sampled_from(list(_TERMS)), st.sampled_from(["x", "r"]), _SIZES),
        min_size=2,
        max_size=7,
    ),
    pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=6, max_size=6),
)
def test_any_sum_computes_the_same(
    terms: list[tuple[str, str, int]], pairs: list[tuple[int, int]]
) -> None:
    """Terms of all kinds, of two values, in a tree of any form."""
    lines, open_terms = ["r = Relu(x)"], []
    for i, (kind, x, size) in enumerate(terms):
        lines.append(f"t{i} = {_TERMS[kind].format(x=x, k=size, p=size // 2)}")
        open_terms.append(x if kind == "itself" else f"t{i}")
    for i, (first, second) in enumerate(pairs[: len(terms) - 1]):
        a = open_terms.pop(first % len(open_terms))
        b = open_terms.pop(second % len(open_terms))
        lines.append(f"a{i} = Add({a}, {b})")
        open_terms.append(f"a{i}")
    lines.append(f"y = Relu({open_terms[0]})")
    kernels = {f"d{size}": rng_weight(4, 1, size, size, seed=size) for size in (1, 3, 5)}
    graph = _graph("\n".join(lines), **kernels, c4=rng_weight(1, 4, 1, 1, seed=9))
    rewritten(MergeBranchesPass(), graph)


def test_rule_1_a_fed_weight_stays() -> None:
    graph = build(
        """f (float[1,4,9,9] x, float[4,4,1,1] u, float[4,4,1,1] w) => (float[1,4,9,9] y) {
            k = Conv(x, u)
            o = Conv(x, w)
            y = Add(k, o) }""",
        w=rng_weight(4, 4, 1, 1),
    )
    assert rewritten(MergeBranchesPass(), graph).reasons == ["Conv has no constant weight"]


def test_rule_1_a_residual_of_another_value_is_not_worth_a_word() -> None:
    graph = _graph(f"r = Relu(x)\n k = {_SAME3}(r, w3)\n y = Add(k, x)")
    outcome = rewritten(MergeBranchesPass(), graph)
    assert not outcome.modified
    assert not outcome.reasons


_DIFFER = {
    "groups": (
        """k = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w3)
           o = Conv<strides=[2,2], group=4>(x, d1)
           y = Add(k, o)""",
        "2,4,9,9",
    ),
    "outputs": ("k = Conv(x, w3)\n o = Conv(x, o1)\n y = Add(k, o)", "2,4,3,3"),
    "strides": ("k = Conv<strides=[2,2]>(x, w1)\n o = Conv(x, v1)\n y = Add(k, o)", "2,4,1,1"),
    "size": ("k = Conv(x, w3)\n o = Conv(x, v1)\n y = Add(k, o)", "2,4,3,3"),
}


@pytest.mark.parametrize(("body", "shape"), _DIFFER.values(), ids=_DIFFER)
def test_rule_2(body: str, shape: str) -> None:
    outcome = rewritten(MergeBranchesPass(), _graph(body, shape, o1=rng_weight(1, 4, 1, 1)))
    assert not outcome.modified
    assert "convolutions of 'x' differ in stride, groups, channels or size" in outcome.reasons


def test_rule_2_sizes_that_agree_only_for_even_inputs_need_a_static_input() -> None:
    body = """k = Conv<strides=[2,2], pads=[0,0,1,1]>(x, w3)
              o = Conv<strides=[2,2]>(x, w1)
              y = Add(k, o)"""
    even = {"x": rng_weight(2, 4, 8, 8)}
    assert not rewritten(MergeBranchesPass(), _graph(body, "2,4,H,W"), even).modified
    assert rewritten(MergeBranchesPass(), _graph(body, "2,4,8,8"), even).modified


def test_rule_3_a_value_of_another_size_stays() -> None:
    graph = _graph("k = Conv(x, w3)\n o = Conv(x, z3)\n t = Add(k, o)\n y = Add(t, x)", "2,4,3,3",
                   z3=rng_weight(4, 4, 3, 3, seed=9))  # fmt: skip
    assert rewritten(MergeBranchesPass(), graph).ops == ["Conv", "Add"]


def test_rule_4_a_branch_that_is_read_elsewhere_stays() -> None:
    body = f"k = {_SAME3}(x, w3)\n o = Conv(x, w1)\n t = Add(k, o)\n r = Relu(k)\n y = Add(t, r)"
    assert rewritten(MergeBranchesPass(), _graph(body)).reasons == ["'k' is also read elsewhere"]


def test_rule_4_a_graph_output_stays() -> None:
    graph = _graph(
        f"k = {_SAME3}(x, w3)\n o = Conv(x, w1)\n y = Add(k, o)",
        "2,4,9,9",
        "float[A,B,C,D] y, float[A,B,C,D] k",
    )
    assert rewritten(MergeBranchesPass(), graph).reasons == ["'k' is also read elsewhere"]


def test_rule_4_a_partial_sum_that_is_read_elsewhere_ends_the_sum() -> None:
    body = f"""k = {_SAME3}(x, w3)
        o = Conv(x, w1)
        t = Add(k, o)
        q = Conv(x, v1)
        u = Add(t, q)
        r = Relu(t)
        y = Add(u, r)"""
    outcome = rewritten(MergeBranchesPass(), _graph(body))
    assert sorted(outcome.ops) == ["Add", "Add", "Conv", "Conv", "Relu"]


def test_rule_4_a_scaled_value_that_is_read_elsewhere_stays() -> None:
    body = f"k = {_SAME3}(x, w3)\n n = Mul(x, s)\n t = Add(k, n)\n r = Relu(n)\n y = Add(t, r)"
    assert not rewritten(MergeBranchesPass(), _graph(body)).modified


def test_rule_5_a_cross_of_two_kernels_stays() -> None:
    graph = _graph(
        """k = Conv<pads=[1,0,1,0]>(x, tall)
           o = Conv<pads=[0,1,0,1]>(x, wide)
           y = Add(k, o)""",
        tall=rng_weight(4, 4, 3, 1),
        wide=rng_weight(4, 4, 1, 3),
    )
    outcome = rewritten(MergeBranchesPass(), graph)
    assert outcome.reasons == ["one kernel over all taps would multiply more"]


def test_rule_6_an_identity_among_many_small_weights_stays_apart() -> None:
    graph = _graph(
        f"k = {_SAME3}(x, fine)\n o = Conv(x, centre)\n t = Add(k, o)\n y = Add(t, x)",
        "2,32,9,9",
        fine=rng_weight(32, 32, 3, 3) * np.float32(0.02),
        centre=rng_weight(32, 32, 1, 1, seed=1) * np.float32(0.02),
    )
    outcome = rewritten(MergeBranchesPass(), graph)
    assert outcome.ops == ["Conv", "Add"]
    assert outcome.reasons == [
        "one scale per channel would be too coarse for what is merged: 29 dB"
    ]


def test_rule_7_other_terms_are_added_to_the_result() -> None:
    body = f"""k = {_SAME3}(x, w3, b)
        z = Relu(x)
        t = Add(k, z)
        o = Conv(x, w1)
        u = Sigmoid(x)
        v = Add(u, o)
        y = Add(t, v)"""
    outcome = rewritten(MergeBranchesPass(), _graph(body))
    assert sorted(outcome.ops) == ["Add", "Add", "Conv", "Relu", "Sigmoid"]


def test_two_families_in_one_sum_both_merge() -> None:
    body = f"""r = Relu(x)
        k = {_SAME3}(x, w3)
        o = Conv(x, w1)
        l = {_SAME3}(r, w3)
        p = Conv(r, v1)
        t = Add(k, l)
        u = Add(o, p)
        y = Add(t, u)"""
    assert sorted(rewritten(MergeBranchesPass(), _graph(body)).ops) == [
        "Add",
        "Conv",
        "Conv",
        "Relu",
    ]


def test_an_identity_that_fits_two_families_is_counted_once() -> None:
    body = f"""k = {_SAME3}(x, w3)
        g = Conv<group=4, pads=[1,1,1,1]>(x, d3)
        t = Add(k, g)
        u = Add(t, x)
        o = Conv(x, w1)
        y = Add(u, o)"""
    assert rewritten(MergeBranchesPass(), _graph(body)).ops == ["Conv", "Conv", "Add"]


def test_an_identity_that_is_added_twice_is_counted_twice() -> None:
    body = f"k = {_SAME3}(x, w3)\n t = Add(k, x)\n y = Add(t, x)"
    assert rewritten(MergeBranchesPass(), _graph(body)).ops == ["Conv"]


def test_a_shared_weight_keeps_its_data_for_its_other_reader() -> None:
    body = f"k = {_SAME3}(x, w3)\n o = Conv(x, w1)\n t = Add(k, o)\n y = {_SAME3}(t, w3)"
    graph = _graph(body)
    assert rewritten(MergeBranchesPass(), graph).ops == ["Conv", "Conv"]
    np.testing.assert_array_equal(
        graph.graph.initializers["w3"].const_value, rng_weight(4, 4, 3, 3, seed=2)
    )
