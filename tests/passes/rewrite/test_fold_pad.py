from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.passes.rewrite.fold_pad import FoldPadPass
from tests.passes.rewrite.building import build, rewritten, rng_weight
from tests.support import feeds_for

if TYPE_CHECKING:
    import onnx_ir as ir

_ASYMMETRIC = np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64)
_AROUND = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)


def _pad_then(consumer: str, front: str = "r = Identity(x)", pad: str = "Pad(r, p)") -> str:
    return f"""f (float[2,3,7,7] x, int64[8] p) => (float[2,C,H,W] y) {{
        {front}
        h = {pad}
        y = {consumer} }}"""


def _conv(pads: Any = _ASYMMETRIC, layer: str = "Conv", pad: str = "Pad(x, p)") -> ir.Model:  # noqa: ANN401
    return build(
        f"""f (float[2,3,7,7] x, int64[8] p, float[4,3,3,3] w) => (float[2,4,H,W] y) {{
            h = {pad}
            y = {layer}(h, w) }}""",
        p=pads,
        w=rng_weight(4, 3, 3, 3),
    )


@pytest.mark.parametrize(
    "layer", ["Conv", "Conv<pads=[1,0,1,0]>", 'Conv<auto_pad="VALID">', "Conv<strides=[2,2]>"]
)
def test_merges_into_conv(layer: str) -> None:
    assert rewritten(FoldPadPass(), _conv(layer=layer)).ops == ["Conv"]


def test_merges_a_pad_with_axes() -> None:
    graph = build(
        """f (float[2,3,7,7] x, int64[4] p, int64[2] a, float[4,3,3,3] w) => (float[2,4,H,W] y) {
            h = Pad(x, p, , a)
            y = Conv(h, w) }""",
        p=np.array([1, 2, 3, 0]),
        a=np.array([-1, 2]),
        w=rng_weight(4, 3, 3, 3),
    )
    assert rewritten(FoldPadPass(), graph).ops == ["Conv"]


@pytest.mark.parametrize(
    ("pads", "pad", "reason"),
    [
        (_AROUND, 'Pad<mode="reflect">(x, p)', "its mode is reflect"),
        (-_AROUND, "Pad(x, p)", "it crops"),
        ([0, 0, 0, 0, 1, 0, 0, 0], "Pad(x, p)", "it pads the batch or the channels"),
    ],
    ids=["reflect", "crop", "batch"],
)
def test_rule_1(pads: Any, pad: str, reason: str) -> None:  # noqa: ANN401
    outcome = rewritten(FoldPadPass(), _conv(np.asarray(pads, np.int64), pad=pad))
    assert outcome.reasons == [reason]


def test_rule_1_fed_amounts() -> None:
    graph = build(
        """f (float[2,3,7,7] x, int64[8] p, float[4,3,3,3] w) => (float[2,4,H,W] y) {
            h = Pad(x, p)
            y = Conv(h, w) }""",
        w=rng_weight(4, 3, 3, 3),
    )
    outcome = rewritten(FoldPadPass(), graph, {"x": rng_weight(2, 3, 7, 7), "p": _AROUND})
    assert "not constant" in outcome.reasons[0]


def test_rule_2_a_pad_read_twice_stays() -> None:
    graph = build(
        """f (float[2,3,7,7] x, int64[8] p, float[4,3,3,3] w)
            => (float[2,4,H,W] y, float[2,3,9,9] h) {
            h = Pad(x, p)
            y = Conv(h, w) }""",
        p=_AROUND,
        w=rng_weight(4, 3, 3, 3),
    )
    outcome = rewritten(FoldPadPass(), graph)
    assert outcome.reasons == ["it is not read by one Conv, AveragePool or MaxPool alone"]


def test_rule_3_automatic_padding_stays() -> None:
    graph = _conv(layer='Conv<auto_pad="SAME_UPPER", strides=[2,2]>')
    assert rewritten(FoldPadPass(), graph).reasons == ["node_y pads automatically"]


def test_rule_4_conv_needs_zero() -> None:
    graph = build(
        """f (float[2,3,7,7] x, int64[8] p, float k, float[4,3,3,3] w) => (float[2,4,H,W] y) {
            h = Pad(x, p, k)
            y = Conv(h, w) }""",
        p=_AROUND,
        k=0.5,
        w=rng_weight(4, 3, 3, 3),
    )
    assert rewritten(FoldPadPass(), graph).reasons == ["Conv pads with zeros only"]


@pytest.mark.parametrize(
    "pool",
    [
        "AveragePool<kernel_shape=[3,3]>(h)",
        "AveragePool<kernel_shape=[3,3], count_include_pad=1, pads=[0,0,1,1]>(h)",
        "AveragePool<kernel_shape=[3,3], strides=[2,2]>(h)",
    ],
    ids=["plain", "counting", "strided"],
)
def test_rule_5_merges_into_average_pool(pool: str) -> None:
    graph = build(_pad_then(pool, "r = Relu(x)"), p=_ASYMMETRIC)
    assert rewritten(FoldPadPass(), graph).ops == ["Relu", "AveragePool"]


def test_rule_5_average_pool_that_does_not_count_its_own_padding_stays() -> None:
    pool = "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(h)"
    outcome = rewritten(FoldPadPass(), build(_pad_then(pool), p=[0] * 6 + [1, 1]))
    assert outcome.reasons == ["node_y does not count the padding that it has"]


@pytest.mark.parametrize(
    "front",
    [
        "r = Relu(x)",
        "r = Sigmoid(x)",
        "s = Softmax(x)\n r = MaxPool<kernel_shape=[1,1]>(s)",
        "s = Abs(x)\n r = Concat<axis=1>(s, s)",
    ],
    ids=["relu", "sigmoid", "through_pool", "concat"],
)
def test_rule_6_merges_into_max_pool_behind_what_is_not_negative(front: str) -> None:
    graph = build(_pad_then("MaxPool<kernel_shape=[3,3], strides=[2,2]>(h)", front), p=_AROUND)
    assert "Pad" not in rewritten(FoldPadPass(), graph).ops


@pytest.mark.parametrize("number", [-np.inf, np.finfo(np.float32).min], ids=["inf", "lowest"])
def test_rule_6_merges_into_max_pool_with_the_lowest_number(number: float) -> None:
    graph = build(
        """f (float[2,3,7,7] x, int64[8] p, float k) => (float[2,3,H,W] y) {
            h = Pad(x, p, k)
            y = MaxPool<kernel_shape=[3,3]>(h) }""",
        p=_AROUND,
        k=number,
    )
    assert rewritten(FoldPadPass(), graph).ops == ["MaxPool"]


@pytest.mark.parametrize(
    "front", ["r = Identity(x)", "r = Tanh(x)", "s = Abs(x)\n r = Concat<axis=1>(s, x)"],
    ids=["input", "tanh", "concat"],
)  # fmt: skip
def test_rule_6_max_pool_of_what_may_be_negative_stays(front: str) -> None:
    graph = build(_pad_then("MaxPool<kernel_shape=[3,3]>(h)", front), p=_AROUND)
    outcome = rewritten(FoldPadPass(), graph)
    assert outcome.reasons == [
        "MaxPool pads with -inf, and the input may lie below the number padded with"
    ]


def test_rule_6_clip_decides_by_its_lower_bound() -> None:
    for low, merges in ((0.0, True), (-1.0, False)):
        graph = build(
            """f (float[2,3,7,7] x, int64[8] p, float l) => (float[2,3,H,W] y) {
                r = Clip(x, l)
                h = Pad(r, p)
                y = MaxPool<kernel_shape=[3,3]>(h) }""",
            p=_AROUND,
            l=low,
        )
        assert rewritten(FoldPadPass(), graph).modified is merges


def test_rule_6_indices_in_use_stay() -> None:
    graph = build(
        """f (float[2,3,7,7] x, int64[8] p) => (float[2,3,H,W] y, int64[2,3,H,W] i) {
            r = Relu(x)
            h = Pad(r, p)
            y, i = MaxPool<kernel_shape=[3,3]>(h) }""",
        p=_AROUND,
    )
    assert rewritten(FoldPadPass(), graph).reasons == ["the indices of node_y are in use"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("kernel_shape=[2,2]", "a pad would be as large as the kernel"),
        ("kernel_shape=[3,3], strides=[2,2], ceil_mode=1", "node_y rounds its output size up"),
        ("kernel_shape=[3,3], dilations=[2,2]", "node_y is dilated"),
    ],
    ids=["small_kernel", "ceil", "dilated"],
)
def test_rule_7(attributes: str, reason: str) -> None:
    graph = build(_pad_then(f"MaxPool<{attributes}>(h)", "r = Relu(x)"), p=_ASYMMETRIC)
    assert rewritten(FoldPadPass(), graph, feeds_for(graph)).reasons == [reason]
