from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.query import weight_of
from onnxq.passes.rewrite.fold_affine import FoldAffinePass
from tests.passes.rewrite.building import build, rewritten, rng_weight

_ROW = [0.5, -2.0, 3.0, 1.5]
_CONV = "f (float[2,3,6,6] x, float w, float k) => (float[2,4,H,W] y)"


@pytest.mark.parametrize(
    "operation", ["Mul(h, k)", "Mul(k, h)", "Add(h, k)", "Sub(h, k)", "Sub(k, h)", "Div(h, k)"]
)
@pytest.mark.parametrize("constant", [2.5, np.reshape(_ROW, (1, 4, 1, 1))], ids=["one", "row"])
def test_folds_behind_a_padded_convolution(operation: str, constant: object) -> None:
    graph = build(
        f"{_CONV} {{ h = Conv<pads=[1,1,1,1]>(x, w)\n y = {operation} }}",
        w=rng_weight(4, 3, 3, 3),
        k=np.asarray(constant, np.float32),
    )
    assert rewritten(FoldAffinePass(), graph).ops == ["Conv"]


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("operation", ["Mul", "Add"])
def test_folds_behind_a_transposed_convolution(operation: str, group: int) -> None:
    graph = build(
        f"""f (float[2,3,4,4] x, float w, float[6] c, float k) => (float[2,6,H,W] y) {{
            h = ConvTranspose<group={group}, strides=[2,2]>(x, w, c)
            y = {operation}(h, k) }}""",
        w=rng_weight(3, 6 // group, 3, 3),
        c=rng_weight(6),
        k=rng_weight(6, 1, 1),
    )
    assert rewritten(FoldAffinePass(), graph).ops == ["ConvTranspose"]


@pytest.mark.parametrize("operation", ["Mul(h, k)", "Add(k, h)", "Div(h, k)"])
def test_folds_behind_gemm(operation: str) -> None:
    graph = build(
        f"""f (float[2,3] x, float[4,3] w, float[4] c, float[4] k) => (float[2,4] y) {{
            h = Gemm<alpha=2.0, beta=0.5, transB=1>(x, w, c)
            y = {operation} }}""",
        w=rng_weight(4, 3),
        c=rng_weight(4),
        k=_ROW,
    )
    assert rewritten(FoldAffinePass(), graph).ops == ["Gemm"]


def test_rule_5_a_matmul_of_rank_2_takes_a_shift_as_gemm() -> None:
    graph = build(
        """f (float[N,3] x, float[3,4] w, float[4] k) => (float[N,4] y) {
            h = MatMul(x, w)
            y = Add(h, k) }""",
        w=rng_weight(3, 4),
        k=_ROW,
    )
    assert rewritten(FoldAffinePass(), graph).ops == ["Gemm"]


def test_rule_5_a_matmul_of_rank_3_takes_a_scale_but_no_shift() -> None:
    text = """f (float[2,5,3] x, float[3,4] w, float[4] k) => (float[2,5,4] y) {
        h = MatMul(x, w)
        y = OP(h, k) }"""
    graph = build(text.replace("OP", "Mul"), w=rng_weight(3, 4), k=_ROW)
    assert rewritten(FoldAffinePass(), graph).ops == ["MatMul"]
    graph = build(text.replace("OP", "Add"), w=rng_weight(3, 4), k=_ROW)
    outcome = rewritten(FoldAffinePass(), graph)
    assert outcome.ops == ["MatMul", "Add"]
    assert outcome.reasons == ["a MatMul takes a bias only where its input is known to have rank 2"]


@pytest.mark.parametrize("operation", ["Mul(x, k)", "Div(x, k)"])
@pytest.mark.parametrize(
    "layer", ["Conv<pads=[1,1,1,1]>", "Conv<group=2>", "ConvTranspose"],
    ids=["conv", "grouped", "transpose"],
)  # fmt: skip
def test_a_scale_folds_in_front(operation: str, layer: str) -> None:
    graph = build(
        f"""f (float[2,4,6,6] x, float w, float[1,4,1,1] k) => (float[2,4,H,W] y) {{
            h = {operation}
            y = {layer}(h, w) }}""",
        w=rng_weight(4, 2 if "group" in layer else 4, 3, 3),
        k=np.reshape(_ROW, (1, 4, 1, 1)),
    )
    assert rewritten(FoldAffinePass(), graph).ops == [layer.split("<")[0]]


@pytest.mark.parametrize("operation", ["Add(x, k)", "Sub(x, k)", "Sub(k, x)"])
def test_a_shift_folds_in_front_of_an_unpadded_convolution(operation: str) -> None:
    graph = build(
        f"""f (float[2,4,6,6] x, float w, float[4,1,1] k) => (float[2,6,H,W] y) {{
            h = {operation}
            y = Conv<group=2>(h, w) }}""",
        w=rng_weight(6, 2, 3, 3),
        k=np.reshape(_ROW, (4, 1, 1)),
    )
    assert rewritten(FoldAffinePass(), graph).ops == ["Conv"]


def test_an_input_normalization_folds_in_front_of_matmul() -> None:
    graph = build(
        """f (float[2,4] x, float[4,3] w, float[4] m, float s) => (float[2,3] y) {
            d = Sub(x, m)
            e = Div(d, s)
            y = MatMul(e, w) }""",
        w=rng_weight(4, 3),
        m=_ROW,
        s=57.0,
    )
    first = FoldAffinePass()
    assert first(graph).modified
    assert rewritten(FoldAffinePass(), graph).ops == ["Gemm"]


def test_rule_4_a_shift_does_not_pass_padding() -> None:
    graph = build(
        """f (float[2,3,6,6] x, float w, float k) => (float[2,4,6,6] y) {
            h = Add(x, k)
            y = Conv<auto_pad="SAME_UPPER">(h, w) }""",
        w=rng_weight(4, 3, 3, 3),
        k=1.0,
    )
    outcome = rewritten(FoldAffinePass(), graph)
    assert outcome.reasons == ["node_y pads with zeros, which are not shifted"]


@pytest.mark.parametrize(
    ("operation", "constant", "reason"),
    [
        ("Div(k, h)", 2.0, "it divides its constant by what is computed"),
        ("Div(h, k)", 0.0, "it divides by zero"),
        ("Mul(h, k)", np.inf, "its constant is not finite float"),
    ],
    ids=["divisor", "zero", "infinite"],
)
def test_rule_1(operation: str, constant: float, reason: str) -> None:
    graph = build(
        f"{_CONV} {{ h = Conv(x, w)\n y = {operation} }}", w=rng_weight(4, 3, 3, 3), k=constant
    )
    assert rewritten(FoldAffinePass(), graph).reasons == [reason]


@pytest.mark.parametrize(
    "shape", [(4,), (1, 1, 1, 4), (1, 4, 4, 1), (2, 1, 1, 1), (1, 1, 4, 1, 1)],
    ids=["last_axis", "width", "height_too", "batch", "rank_5"],
)  # fmt: skip
def test_rule_2_behind(shape: tuple[int, ...]) -> None:
    rank = max(4, len(shape))
    out = ",".join("ABCDE"[:rank])
    graph = build(
        f"""f (float[2,3,6,6] x, float w, float k) => (float[{out}] y) {{
            h = Conv(x, w)
            y = Mul(h, k) }}""",
        w=rng_weight(4, 3, 3, 3),
        k=rng_weight(*shape),
    )
    outcome = rewritten(FoldAffinePass(), graph)
    assert outcome.reasons == [f"its constant {list(shape)} is not one number per channel"]


def test_rule_2_one_channel_does_not_widen() -> None:
    graph = build(
        """f (float[2,3,6,6] x, float w, float k) => (float[2,4,6,6] y) {
            h = Conv(x, w)
            y = Mul(h, k) }""",
        w=rng_weight(1, 3, 1, 1),
        k=rng_weight(1, 4, 1, 1),
    )
    assert not rewritten(FoldAffinePass(), graph).modified


def test_rule_2_in_front_a_constant_may_not_widen_the_input() -> None:
    graph = build(
        """f (float[2,1,6,6] x, float w, float k) => (float[2,4,6,6] y) {
            h = Mul(x, k)
            y = Conv(h, w) }""",
        w=rng_weight(4, 3, 1, 1),
        k=rng_weight(1, 3, 1, 1),
    )
    outcome = rewritten(FoldAffinePass(), graph)
    assert outcome.reasons == ["its constant may widen the shape of its input"]


def test_rule_3_a_layer_read_twice_stays() -> None:
    graph = build(
        """f (float[2,3,6,6] x, float w, float k) => (float[2,4,6,6] y, float[2,4,6,6] z) {
            h = Conv(x, w)
            y = Mul(h, k)
            z = Relu(h) }""",
        w=rng_weight(4, 3, 1, 1),
        k=2.0,
    )
    outcome = rewritten(FoldAffinePass(), graph)
    assert outcome.reasons == ["the output of node_h is also read elsewhere"]


def test_rule_4_a_scaled_value_that_is_a_graph_output_stays() -> None:
    graph = build(
        """f (float[2,3,6,6] x, float w, float k) => (float[2,3,6,6] h, float[2,4,6,6] y) {
            h = Mul(x, k)
            y = Conv(h, w) }""",
        w=rng_weight(4, 3, 1, 1),
        k=2.0,
    )
    assert not rewritten(FoldAffinePass(), graph).modified


def test_rule_6_alpha_and_beta() -> None:
    graph = build(
        """f (float[2,3] x, float[3,4] w, float[1] c) => (float[2,4] y) {
            y = Gemm<alpha=0.5, beta=2.0>(x, w, c) }""",
        w=rng_weight(3, 4),
        c=rng_weight(1),
    )
    assert rewritten(FoldAffinePass(), graph).modified
    assert not graph.graph[0].attributes


def test_rule_6_a_bias_per_row_stays() -> None:
    graph = build(
        """f (float[4,3] x, float[3,4] w, float[4,1] c) => (float[4,4] y) {
            y = Gemm<beta=2.0>(x, w, c) }""",
        w=rng_weight(3, 4),
        c=rng_weight(4, 1),
    )
    outcome = rewritten(FoldAffinePass(), graph)
    assert outcome.reasons == ["the bias of Gemm is not one number per output channel"]


def test_a_weight_and_a_bias_that_are_shared_are_copied() -> None:
    graph = build(
        """f (float[2,3,6,6] x, float w, float[4] c, float k)
            => (float[2,4,6,6] y, float[2,4,6,6] z) {
            h = Conv(x, w, c)
            y = Mul(h, k)
            z = Conv(x, w, c) }""",
        w=rng_weight(4, 3, 1, 1),
        c=rng_weight(4),
        k=2.0,
    )
    assert rewritten(FoldAffinePass(), graph).modified
    assert sorted(graph.graph.initializers) == ["c", "c_1", "w", "w_1"]


def test_a_residual_addition_is_left_alone() -> None:
    graph = build(
        """f (float[2,4,6,6] x, float w) => (float[2,4,6,6] y) {
            h = Conv(x, w)
            y = Add(h, x) }""",
        w=rng_weight(4, 4, 1, 1),
    )
    outcome = rewritten(FoldAffinePass(), graph)
    assert outcome.ops == ["Conv", "Add"]
    assert outcome.reasons == []


def test_overflow_is_refused() -> None:
    graph = build(
        f"{_CONV} {{ h = Conv(x, w)\n y = Mul(h, k) }}",
        w=np.full((4, 3, 3, 3), 1e5, np.float32),
        k=3e38,
    )
    fold = FoldAffinePass()
    assert not fold(graph).modified
    assert [note.text for note in fold.take_notes()] == ["the folded weight or bias would overflow"]
    assert (weight_of(graph.graph.initializers["w"]) == 1e5).all()  # type: ignore[union-attr]


def test_the_prior_moves_along() -> None:
    old = (np.ones(4, np.float32), np.full(4, 2.0, np.float32))
    prior = {"h": old}
    graph = build(f"{_CONV} {{ h = Conv(x, w)\n y = Mul(h, k) }}", w=rng_weight(4, 3, 3, 3), k=-3.0)
    FoldAffinePass(prior)(graph)
    np.testing.assert_array_equal(prior["y"][0], -3.0 * old[0])
    np.testing.assert_array_equal(prior["y"][1], 3.0 * old[1])
