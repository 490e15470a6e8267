from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.passes.rewrite.fold_batchnorm import FoldBatchnormPass
from tests.passes.rewrite.building import build, rewritten, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt

_NORM_INPUTS = "float[4] g, float[4] b, float[4] m, float[4] v"


def _norm(channels: int = 4) -> dict[str, npt.NDArray[Any]]:
    rng = np.random.default_rng(1)
    return {
        "g": rng.uniform(-2, 2, channels).astype(np.float32),
        "b": rng.normal(size=channels).astype(np.float32),
        "m": rng.normal(size=channels).astype(np.float32),
        "v": rng.uniform(0.1, 2, channels).astype(np.float32),
    }


@pytest.mark.parametrize("bias", [False, True], ids=["no_bias", "bias"])
@pytest.mark.parametrize(
    ("layer", "weight"),
    [
        ("Conv<pads=[1,1,1,1]>", (4, 6, 3, 3)),
        ("Conv<group=2>", (4, 3, 3, 3)),
        ("ConvTranspose<strides=[2,2]>", (6, 4, 3, 3)),
        ("ConvTranspose<group=2, pads=[1,1,1,1]>", (6, 2, 3, 3)),
    ],
    ids=["conv", "grouped", "transpose", "grouped_transpose"],
)
def test_folds_behind_a_convolution(layer: str, weight: tuple[int, ...], bias: bool) -> None:
    extra = ", float[4] c" if bias else ""
    graph = build(
        f"""f (float[2,6,7,7] x, float w{extra}, {_NORM_INPUTS}) => (float[N,4,H,W] y) {{
            h = {layer}(x, w{", c" if bias else ""})
            y = BatchNormalization<epsilon=0.001>(h, g, b, m, v) }}""",
        w=rng_weight(*weight),
        **({"c": rng_weight(4)} if bias else {}),
        **_norm(),
    )
    outcome = rewritten(FoldBatchnormPass(), graph)
    assert outcome.ops == [layer.split("<")[0]]
    assert sorted(graph.graph.initializers) == ["c" if bias else "node_h.bias", "w"]


@pytest.mark.parametrize("trans", [0, 1])
def test_folds_behind_gemm_with_alpha_and_beta(trans: int) -> None:
    graph = build(
        f"""f (float[2,3] x, float w, float[1,4] c, {_NORM_INPUTS}) => (float[2,4] y) {{
            h = Gemm<alpha=0.5, beta=3.0, transB={trans}>(x, w, c)
            y = BatchNormalization(h, g, b, m, v) }}""",
        w=rng_weight(4, 3) if trans else rng_weight(3, 4),
        c=rng_weight(1, 4),
        **_norm(),
    )
    assert rewritten(FoldBatchnormPass(), graph).ops == ["Gemm"]


def test_a_matmul_of_rank_2_becomes_gemm() -> None:
    graph = build(
        f"""f (float[2,3] x, float[3,4] w, {_NORM_INPUTS}) => (float[2,4] y) {{
            h = MatMul(x, w)
            y = BatchNormalization(h, g, b, m, v) }}""",
        w=rng_weight(3, 4),
        **_norm(),
    )
    assert rewritten(FoldBatchnormPass(), graph).ops == ["Gemm"]


@pytest.mark.parametrize(
    ("layer", "weight"),
    [("Conv", (6, 4, 3, 3)), ("Conv<group=2>", (6, 2, 1, 1))],
    ids=["conv", "grouped"],
)
def test_folds_in_front_of_an_unpadded_convolution(layer: str, weight: tuple[int, ...]) -> None:
    graph = build(
        f"""f (float[2,4,7,7] x, float w, {_NORM_INPUTS}) => (float[2,6,H,W] y) {{
            h = BatchNormalization(x, g, b, m, v)
            y = {layer}(h, w) }}""",
        w=rng_weight(*weight),
        **_norm(),
    )
    assert rewritten(FoldBatchnormPass(), graph).ops == ["Conv"]


@pytest.mark.parametrize("trans", [0, 1])
def test_folds_in_front_of_gemm(trans: int) -> None:
    graph = build(
        f"""f (float[2,4] x, float w, float[3] c, {_NORM_INPUTS}) => (float[2,3] y) {{
            h = BatchNormalization(x, g, b, m, v)
            y = Gemm<transB={trans}>(h, w, c) }}""",
        w=rng_weight(3, 4) if trans else rng_weight(4, 3),
        c=rng_weight(3),
        **_norm(),
    )
    assert rewritten(FoldBatchnormPass(), graph).ops == ["Gemm"]


@pytest.mark.parametrize("layer", ["Conv<pads=[1,1,1,1]>", "ConvTranspose"])
def test_rule_3_a_shift_does_not_pass_padding(layer: str) -> None:
    text = f"""f (float[1,4,5,5] x, float w, {_NORM_INPUTS}) => (float[1,4,H,W] y) {{
        h = BatchNormalization(x, g, b, m, v)
        y = {layer}(h, w) }}"""
    graph = build(text, w=rng_weight(4, 4, 3, 3), **_norm())
    outcome = rewritten(FoldBatchnormPass(), graph)
    assert not outcome.modified
    assert outcome.reasons == ["node_y pads with zeros, which are not shifted"]
    zero = {"b": np.zeros(4, np.float32), "m": np.zeros(4, np.float32)}
    graph = build(text, w=rng_weight(4, 4, 3, 3), **{**_norm(), **zero})
    assert rewritten(FoldBatchnormPass(), graph).modified


def test_rule_1_training_mode_stays() -> None:
    graph = build(
        f"""f (float[2,4,5,5] x, float[4,4,1,1] w, {_NORM_INPUTS}) => (float[2,4,5,5] y) {{
            h = Conv(x, w)
            y, rm, rv = BatchNormalization<training_mode=1>(h, g, b, m, v) }}""",
        w=rng_weight(4, 4, 1, 1),
        **_norm(),
    )
    assert rewritten(FoldBatchnormPass(), graph).reasons == ["it is in training mode"]


def test_rule_1_fed_parameters_stay() -> None:
    norm = _norm()
    scale = norm.pop("g")
    graph = build(
        f"""f (float[2,4,5,5] x, float[4,4,1,1] w, {_NORM_INPUTS}) => (float[2,4,5,5] y) {{
            h = Conv(x, w)
            y = BatchNormalization(h, g, b, m, v) }}""",
        w=rng_weight(4, 4, 1, 1),
        **norm,
    )
    feeds = {"x": rng_weight(2, 4, 5, 5), "g": scale}
    outcome = rewritten(FoldBatchnormPass(), graph, feeds)
    assert outcome.reasons == ["its parameters are not all constant"]


def test_rule_2_a_layer_read_twice_stays() -> None:
    graph = build(
        f"""f (float[2,4,5,5] x, float[4,4,1,1] w, {_NORM_INPUTS})
            => (float[2,4,5,5] y, float[2,4,5,5] z) {{
            h = Conv(x, w)
            y = BatchNormalization(h, g, b, m, v)
            z = Relu(h) }}""",
        w=rng_weight(4, 4, 1, 1),
        **_norm(),
    )
    outcome = rewritten(FoldBatchnormPass(), graph)
    assert outcome.reasons == ["the output of node_h is also read elsewhere"]


def test_rule_2_a_layer_that_is_a_graph_output_stays() -> None:
    graph = build(
        f"""f (float[2,4,5,5] x, float[4,4,1,1] w, {_NORM_INPUTS})
            => (float[2,4,5,5] h, float[2,4,5,5] y) {{
            h = Conv(x, w)
            y = BatchNormalization(h, g, b, m, v) }}""",
        w=rng_weight(4, 4, 1, 1),
        **_norm(),
    )
    assert not rewritten(FoldBatchnormPass(), graph).modified


def test_rule_4_matmul_of_rank_3_stays() -> None:
    graph = build(
        f"""f (float[2,4,3] x, float[3,5] w, {_NORM_INPUTS}) => (float[2,4,5] y) {{
            h = MatMul(x, w)
            y = BatchNormalization(h, g, b, m, v) }}""",
        w=rng_weight(3, 5),
        **_norm(),
    )
    outcome = rewritten(FoldBatchnormPass(), graph)
    assert outcome.reasons == ["node_h is not known to have rank 2"]


def test_rule_5_without_a_neighbour_it_stays() -> None:
    graph = build(
        f"""f (float[2,4,5,5] x, {_NORM_INPUTS}) => (float[2,4,5,5] y) {{
            h = BatchNormalization(x, g, b, m, v)
            y = Relu(h) }}""",
        **_norm(),
    )
    outcome = rewritten(FoldBatchnormPass(), graph)
    assert outcome.reasons == ["no linear layer with constant weight next to it"]


def test_a_shared_weight_is_copied() -> None:
    graph = build(
        f"""f (float[2,4,5,5] x, float[4,4,1,1] w, {_NORM_INPUTS})
            => (float[2,4,5,5] y, float[2,4,5,5] z) {{
            h = Conv(x, w)
            y = BatchNormalization(h, g, b, m, v)
            z = Conv(x, w) }}""",
        w=rng_weight(4, 4, 1, 1),
        **_norm(),
    )
    assert rewritten(FoldBatchnormPass(), graph).modified
    np.testing.assert_array_equal(graph.graph.initializers["w"].const_value, rng_weight(4, 4, 1, 1))


def test_the_graph_output_keeps_its_name_and_type() -> None:
    graph = build(
        f"""f (float[N,4,5,5] x, float[4,4,1,1] w, {_NORM_INPUTS}) => (float[N,4,5,5] y) {{
            h = Conv(x, w)
            y = BatchNormalization(h, g, b, m, v) }}""",
        w=rng_weight(4, 4, 1, 1),
        **_norm(),
    )
    rewritten(FoldBatchnormPass(), graph)
    (output,) = graph.graph.outputs
    assert (output.name, str(output.shape)) == ("y", "[N,4,5,5]")


def test_moments_go_into_the_prior() -> None:
    norm = _norm()
    prior: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {}
    graph = build(
        f"""f (float[2,4,5,5] x, float[4,4,1,1] w, {_NORM_INPUTS}) => (float[2,4,5,5] y) {{
            h = Conv(x, w)
            y = BatchNormalization<epsilon=0.0>(h, g, b, m, v) }}""",
        w=rng_weight(4, 4, 1, 1),
        **norm,
    )
    FoldBatchnormPass(prior)(graph)
    np.testing.assert_array_equal(prior["y"][0], norm["b"])
    np.testing.assert_allclose(prior["y"][1], np.abs(norm["g"]), rtol=1e-6)
    np.testing.assert_allclose(prior["h"][1], np.sqrt(norm["v"]), rtol=1e-6)
