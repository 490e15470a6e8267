from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.passes.rewrite.fold_space_to_depth import FoldSpaceToDepthPass
from tests.passes.rewrite.building import build, rewritten, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

_AXIS_AFTER_AXIS = """
    t0 = Slice(x, i0, end, a2, i2)
    s0 = Slice(t0, i0, end, a3, i2)
    t1 = Slice(x, i1, end, a2, i2)
    s1 = Slice(t1, i0, end, a3, i2)
    t2 = Slice(x, i0, end, a2, i2)
    s2 = Slice(t2, i1, end, a3, i2)
    t3 = Slice(x, i1, end, a2, i2)
    s3 = Slice(t3, i1, end, a3, i2)
    h = Concat<axis=1>(s0, s1, s2, s3)"""
_SHARED_ROWS = """
    t0 = Slice(x, i0, end, a2, i2)
    t1 = Slice(x, i1, end, a2, i2)
    s0 = Slice(t0, i0, end, a3, i2)
    s1 = Slice(t1, i0, end, a3, i2)
    s2 = Slice(t0, i1, end, a3, i2)
    s3 = Slice(t1, i1, end, a3, i2)
    h = Concat<axis=-3>(s0, s1, s2, s3)"""
_BOTH_AXES = """
    s0 = Slice(x, i00, ends, a23, i22)
    s1 = Slice(x, i10, ends, a23, i22)
    s2 = Slice(x, i01, ends, a23, i22)
    s3 = Slice(x, i11, ends, a23, i22)
    h = Concat<axis=1>(s0, s1, s2, s3)"""
_RESHAPE = """
    r = Reshape(x, cells)
    t = Transpose<perm=[0,3,5,1,2,4]>(r)
    h = Reshape(t, flat)"""
_FORMS = {
    "axis after axis": _AXIS_AFTER_AXIS,
    "shared rows": _SHARED_ROWS,
    "both axes": _BOTH_AXES,
    "space to depth": "h = SpaceToDepth<blocksize=2>(x)",
    "reshape": _RESHAPE,
}


_WRITTEN_OUT = {name: form for name, form in _FORMS.items() if "SpaceToDepth" not in form}
_THREE = {"x": rng_weight(3, 3, 8, 12)}


def _graph(
    form: str = _BOTH_AXES,
    conv: str = "Conv<pads=[1,1,1,1]>",
    shape: str = "1,3,8,12",
    outputs: int = 4,
    kernel: int = 3,
    behind: str = "",
    more: str = "",
    inputs: int = 12,
) -> ir.Model:
    """Space-to-depth of x, and a Conv behind it."""
    constants: dict[str, npt.ArrayLike] = {
        "i0": [0], "i1": [1], "i2": [2], "a2": [2], "a3": [3], "end": [2**63 - 1],
        "i00": [0, 0], "i01": [0, 1], "i10": [1, 0], "i11": [1, 1], "i22": [2, 2],
        "a23": [2, 3], "ends": [2**31 - 1, -1 + 2**31], "even": [6, 8],
        "cells": [-1, 3, 4, 2, 6, 2], "flat": [-1, 12, 4, 6],
    }  # fmt: skip
    body = f"{form}\n y = {conv}(h, w, b)\n {behind}"
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    used = {name: np.asarray(item) for name, item in constants.items() if name in words}
    head = "".join(f", int64[{item.size}] {name}" for name, item in used.items())
    group = 2 if "group" in conv else 1
    weight = rng_weight(outputs, inputs // group, kernel, kernel)
    return build(
        f"""f (float[{shape}] x, float[{outputs},I,K,K] w, float[{outputs}] b{head})
            => (float[A,B,C,D] y{more}) {{ {body} }}""",
        w=weight,
        b=rng_weight(outputs, seed=1),
        **used,
    )


@pytest.mark.parametrize("form", _FORMS.values(), ids=_FORMS)
def test_every_form_becomes_one_convolution(form: str) -> None:
    assert rewritten(FoldSpaceToDepthPass(integer=False), _graph(form)).ops == ["Conv"]


def test_a_focus_layer_gets_the_geometry_of_yolov5_version_6() -> None:
    graph = _graph(_AXIS_AFTER_AXIS)
    rewritten(FoldSpaceToDepthPass(integer=False), graph)
    (conv,) = graph.graph
    attributes = {
        name: conv.attributes.get_ints(name) for name in ("kernel_shape", "strides", "pads")
    }
    assert attributes == {"kernel_shape": (6, 6), "strides": (2, 2), "pads": (2, 2, 2, 2)}
    assert conv.inputs[1] is not None
    assert conv.inputs[1].shape == [4, 3, 6, 6]


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from(list(_FORMS.values())),
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.integers(1, 2),
    pads=st.tuples(*[st.integers(0, 1)] * 4),
    batch=st.sampled_from(["1", "3", "N"]),
)
def test_any_geometry_computes_the_same(
    form: str, kernel: int, stride: int, pads: tuple[int, ...], batch: str
) -> None:
    where = [pad if kernel > 1 else 0 for pad in pads]
    conv = f"Conv<strides=[{stride},{stride}], pads={where}>"
    graph = _graph(form, conv, f"{batch},3,8,12", kernel=kernel)
    assert rewritten(FoldSpaceToDepthPass(integer=False), graph).ops == ["Conv"]


@pytest.mark.parametrize("automatic", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(automatic: str) -> None:
    graph = _graph(conv=f'Conv<auto_pad="{automatic}", strides=[2,2]>', kernel=2)
    assert rewritten(FoldSpaceToDepthPass(integer=False), graph).ops == ["Conv"]


def test_blocks_of_three() -> None:
    graph = _graph("h = SpaceToDepth<blocksize=3>(x)", shape="2,3,9,12", inputs=27)
    assert rewritten(FoldSpaceToDepthPass(integer=False), graph).ops == ["Conv"]


def test_what_is_rearranged_may_be_read_elsewhere() -> None:
    graph = _graph(behind="z = Relu(s1)", more=", float[E,F,G,H] z")
    assert sorted(rewritten(FoldSpaceToDepthPass(integer=False), graph).ops) == [
        "Conv",
        "Relu",
        "Slice",
    ]


def test_a_shared_weight_keeps_its_data_for_its_other_reader() -> None:
    behind = "o = Concat<axis=1>(x, x, x, x)\n z = Conv(o, w)"
    graph = _graph(behind=behind, more=", float[E,F,G,H] z")
    rewritten(FoldSpaceToDepthPass(integer=False), graph)
    np.testing.assert_array_equal(
        graph.graph.initializers["w"].const_value, rng_weight(4, 12, 3, 3)
    )


@pytest.mark.parametrize("form", [_AXIS_AFTER_AXIS, _BOTH_AXES, "h = SpaceToDepth<blocksize=2>(x)"])
def test_rule_1_a_dynamic_size_stays(form: str) -> None:
    graph = _graph(form, shape="1,3,H,W")
    outcome = rewritten(FoldSpaceToDepthPass(integer=False), graph, {"x": rng_weight(1, 3, 8, 12)})
    assert outcome.reasons == ["the height and width of what is rearranged are not static"]


def test_rule_1_an_odd_size_cut_to_whole_blocks_stays() -> None:
    form = _BOTH_AXES.replace("ends", "even")
    assert not rewritten(
        FoldSpaceToDepthPass(integer=False), _graph(form, shape="1,3,7,9")
    ).modified


@pytest.mark.parametrize(
    "form",
    [
        _BOTH_AXES.replace("s3 = Slice(x, i11", "s3 = Slice(x, i10"),
        _BOTH_AXES.replace("Slice(x, i11", "Slice(f, i11").replace("\n", "\n    f = Neg(x)\n", 1),
        _RESHAPE.replace("[0,3,5,1,2,4]", "[0,5,3,1,4,2]"),
    ],
    ids=["one twice", "two sources", "mirrored cells"],
)
def test_rule_1_another_rearrangement_stays(form: str) -> None:
    graph = _graph(form, shape="1,3,12,12") if "Reshape" not in form else _graph(form)
    assert not rewritten(FoldSpaceToDepthPass(integer=False), graph).modified


def test_rule_1_what_takes_two_samples_of_any_number_stays() -> None:
    form = "g = SpaceToDepth<blocksize=2>(x)\n h = Slice(g, i0, i2, i0)"
    outcome = rewritten(FoldSpaceToDepthPass(integer=False), _graph(form, shape="N,3,8,12"), _THREE)
    assert not outcome.modified


@pytest.mark.parametrize(
    ("behind", "more"),
    [("z = Relu(h)", ", float[E,F,G,H] z"), ("", ", float[E,F,G,H] h")],
    ids=["other reader", "graph output"],
)
def test_rule_2_what_others_read_stays(behind: str, more: str) -> None:
    outcome = rewritten(FoldSpaceToDepthPass(integer=False), _graph(behind=behind, more=more))
    assert outcome.reasons == ["what is rearranged is also read elsewhere"]


@pytest.mark.parametrize(
    ("conv", "reason"),
    [("Conv<group=2>", "it has groups"), ("Conv<dilations=[1,2]>", "it is dilated")],
)
def test_rule_2_other_convolutions_stay(conv: str, reason: str) -> None:
    assert rewritten(FoldSpaceToDepthPass(integer=False), _graph(conv=conv)).reasons == [reason]


@pytest.mark.parametrize("form", _WRITTEN_OUT.values(), ids=_WRITTEN_OUT)
@pytest.mark.parametrize("batch", ["2", "N"])
def test_rule_3_few_channels_are_rearranged_by_one_operator(form: str, batch: str) -> None:
    graph = _graph(form, shape=f"{batch},3,8,12")
    assert rewritten(FoldSpaceToDepthPass(), graph).ops == ["SpaceToDepth", "Conv"]


def test_rule_3_a_space_to_depth_of_few_channels_stays() -> None:
    outcome = rewritten(FoldSpaceToDepthPass(), _graph("h = SpaceToDepth<blocksize=2>(x)"))
    assert outcome.reasons == ["SpaceToDepth is faster on integers with so few channels"]


def test_rule_3_sixteen_channels_are_not_few() -> None:
    graph = _graph("h = SpaceToDepth<blocksize=2>(x)", shape="1,16,8,8", inputs=64)
    assert rewritten(FoldSpaceToDepthPass(), graph).ops == ["Conv"]
