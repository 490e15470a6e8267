from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.rewrite.reduce_mean_to_pool import ReduceMeanToPoolPass
from tests.passes.rewrite.building import build, rewritten


@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1, -2], [2, -1]], ids=str)
def test_becomes_global_average_pool(axes: list[int]) -> None:
    graph = build(
        """f (float[N,3,H,W] x, int64[2] a) => (float[N,3,1,1] y) { y = ReduceMean(x, a) }""",
        a=np.array(axes),
    )
    assert rewritten(ReduceMeanToPoolPass(), graph).ops == ["GlobalAveragePool"]


def test_rule_3_flatten_follows() -> None:
    graph = build(
        """f (float[N,3,8,8] x, int64[2] a) => (float[N,3] y) {
            y = ReduceMean<keepdims=0>(x, a) }""",
        a=np.array([2, 3]),
    )
    assert rewritten(ReduceMeanToPoolPass(), graph).ops == ["GlobalAveragePool", "Flatten"]
    assert str(graph.graph.outputs[0].shape) == "[N,3]"


def test_rule_1_another_rank_stays() -> None:
    graph = build(
        """f (float[2,3,4,5,6] x, int64[2] a) => (float[2,3,1,1,6] y) { y = ReduceMean(x, a) }""",
        a=np.array([2, 3]),
    )
    outcome = rewritten(ReduceMeanToPoolPass(), graph)
    assert outcome.reasons == ["its input is not known to have rank 4"]


def test_rule_1_integers_stay() -> None:
    graph = build(
        """f (int32[2,3,4,5] x, int64[2] a) => (int32[2,3,1,1] y) { y = ReduceMean(x, a) }""",
        a=np.array([2, 3]),
    )
    outcome = rewritten(ReduceMeanToPoolPass(), graph)
    assert outcome.reasons == ["its input is not known to be float"]


@pytest.mark.parametrize("axes", [[1, 2], [2], [1, 2, 3]], ids=str)
def test_rule_2_other_axes_stay(axes: list[int]) -> None:
    graph = build(
        """f (float[2,3,4,5] x, int64[A] a) => (float[N,C,H,W] y) { y = ReduceMean(x, a) }""",
        a=np.array(axes),
    )
    outcome = rewritten(ReduceMeanToPoolPass(), graph)
    assert outcome.reasons == ["its axes are not the constants 2 and 3"]


def test_rule_2_no_axes_stay() -> None:
    graph = build("f (float[2,3,4,5] x) => (float[1,1,1,1] y) { y = ReduceMean(x) }")
    assert not rewritten(ReduceMeanToPoolPass(), graph).modified
