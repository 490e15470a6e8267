from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.plan.cost import Work
from onnxq.plan.work import kernel_kind, work_of
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir


def node(line: str, *weight: int) -> ir.Node:
    dims = ",".join(map(str, weight))
    source = build(
        f"f (float[1,8,6,6] x, float[5,8] m, float[{dims}] w) => (float[A,B] y) {{ {line} }}",
        w=rng_weight(*weight),
    )
    return source.graph[0]


@pytest.mark.parametrize(
    ("line", "weight", "kind"),
    [
        ("y = Conv(x, w)", (16, 8, 3, 3), "dense"),
        ("y = Conv<group=2>(x, w)", (16, 4, 3, 3), "grouped"),
        ("y = Conv<group=8>(x, w)", (16, 1, 3, 3), "depthwise"),
        ("y = Conv<group=8>(x, w)", (8, 1, 3, 3), "depthwise-ragged"),
        ("y = Conv(x, w)", (16, 3, 3, 3), "stem"),
        ("y = Gemm(m, w)", (8, 3), "matmul"),
        ("y = MatMul(m, w)", (8, 3), "matmul"),
        ("y = Sigmoid(x)", (1,), "Sigmoid"),
    ],
    ids=["dense", "grouped", "depthwise", "ragged", "stem", "gemm", "matmul", "other"],
)
def test_kind_of_kernel(line: str, weight: tuple[int, ...], kind: str) -> None:
    assert kernel_kind(node(line, *weight)) == kind


@pytest.mark.parametrize(
    ("line", "weight", "out", "work"),
    [
        ("y = Conv(x, w)", (4, 8, 3, 3), (1, 4, 4, 4), Work(4 * 16 * 72, 64, 16 * 72)),
        ("y = Conv(x, w)", (4, 8, 1, 1), (1, 4, 6, 6), Work(4 * 36 * 8, 144, 0)),
        ("y = Conv<group=8>(x, w)", (8, 1, 3, 3), (1, 8, 4, 4), Work(128 * 9, 128, 16 * 72)),
        ("y = MatMul(m, w)", (8, 3), (5, 3), Work(15 * 8, 15, 24)),
        ("y = Sigmoid(x)", (1,), (1, 8, 6, 6), Work(0, 288, 288)),
        ("y = GlobalAveragePool(x)", (1,), (1, 8, 1, 1), Work(0, 8, 288)),
    ],
    ids=["3x3", "1x1", "depthwise", "matmul", "pointwise", "pool"],
)
def test_work(line: str, weight: tuple[int, ...], out: tuple[int, ...], work: Work) -> None:
    shapes = {"x": (1, 8, 6, 6), "m": (5, 8), "y": out}
    assert work_of(node(line, *weight), shapes) == work


def test_a_split_writes_all_of_its_outputs() -> None:
    source = build(
        """f (float[1,8] x) => (float[1,6] a, float[1,2] b) {
            s = Constant<value_ints=[6,2]>()
            a, b = Split<axis=1>(x, s) }"""
    )
    shapes = {"x": (1, 8), "a": (1, 6), "b": (1, 2)}
    assert work_of(source.graph[1], shapes) == Work(0, 8, 8)


@pytest.mark.parametrize("known", [{}, {"x": (1, 8, 6, 6)}], ids=["nothing", "input"])
def test_unknown_shapes_are_no_work(known: dict[str, tuple[int, ...]]) -> None:
    assert work_of(node("y = Conv(x, w)", 4, 8, 3, 3), known) == Work()


def test_work_counts_what_a_convolution_does() -> None:
    """Against a direct count over output positions, channels and taps."""
    work = work_of(node("y = Conv(x, w)", 4, 8, 3, 3), {"x": (1, 8, 6, 6), "y": (1, 4, 4, 4)})
    windows = np.lib.stride_tricks.sliding_window_view(np.ones((8, 6, 6)), (8, 3, 3))
    assert work.patches == windows.size
    assert work.macs == 4 * windows.size
