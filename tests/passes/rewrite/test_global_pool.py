from __future__ import annotations

import pytest

from onnxq.passes.rewrite.global_pool import GlobalPoolPass
from tests.passes.rewrite.building import build, rewritten


def _pool(attributes: str, x: str = "float[N,3,5,7] x") -> str:
    return f"f ({x}) => (float[N,3,OH,OW] y) {{ y = AveragePool<{attributes}>(x) }}"


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape=[5,7]",
        "kernel_shape=[5,7], strides=[5,2], pads=[0,0,0,0]",
        'kernel_shape=[5,7], auto_pad="VALID", ceil_mode=1, count_include_pad=1',
    ],
    ids=["plain", "strided", "valid"],
)
def test_becomes_global_average_pool(attributes: str) -> None:
    assert rewritten(GlobalPoolPass(), build(_pool(attributes))).ops == ["GlobalAveragePool"]


def test_three_spatial_axes() -> None:
    graph = build("f (float[2,3,4,5,6] x) => (float[2,3,1,1,1] y) "
                  "{ y = AveragePool<kernel_shape=[4,5,6]>(x) }")  # fmt: skip
    assert rewritten(GlobalPoolPass(), graph).ops == ["GlobalAveragePool"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("kernel_shape=[5,6]", "its kernel is not as large as its input"),
        ("kernel_shape=[5,7], pads=[1,0,0,0]", "it pads"),
        ('kernel_shape=[5,7], auto_pad="SAME_UPPER"', "it pads"),
    ],
    ids=["smaller", "pads", "automatic"],
)
def test_other_windows_stay(attributes: str, reason: str) -> None:
    assert rewritten(GlobalPoolPass(), build(_pool(attributes))).reasons == [reason]


def test_rule_2_dilated_stays() -> None:
    # Such a model cannot run: the dilated window is larger than the input.
    graph = build(_pool("kernel_shape=[5,7], dilations=[2,1]"))
    rewrite = GlobalPoolPass()
    assert not rewrite(graph).modified
    assert [note.text for note in rewrite.take_notes()] == ["it is dilated"]


def test_rule_1_a_dynamic_extent_stays() -> None:
    graph = build(_pool("kernel_shape=[2,2]", "float[N,3,H,W] x"))
    outcome = rewritten(GlobalPoolPass(), graph)
    assert outcome.reasons == ["the height and width of its input are not static"]
