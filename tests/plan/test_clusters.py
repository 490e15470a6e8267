from __future__ import annotations

import numpy as np
import pytest

from onnxq.plan.clusters import Cluster, ClusterSplit, columns_of, input_axis, without_columns
from tests.passes.rewrite.building import build, rng_weight
from tests.plan.checking import ONE

BODIES = {
    "conv": ("float[1,6,4,4] x, float[5,6,1,1] w", "y = Conv(x, w)", (5, 6, 1, 1), 1),
    "groups": (
        "float[1,6,4,4] x, float[4,3,1,1] w", "y = Conv<group = 2>(x, w)", (4, 3, 1, 1), None,
    ),
    "transposed": (
        "float[1,6,4,4] x, float[6,5,1,1] w", "y = ConvTranspose(x, w)", (6, 5, 1, 1), None,
    ),
    "matmul": ("float[2,6] x, float[6,5] w", "y = MatMul(x, w)", (6, 5), 0),
    "batches": ("float[2,3,6] x, float[2,6,5] w", "y = MatMul(x, w)", (2, 6, 5), None),
    "gemm": ("float[2,6] x, float[6,5] w", "y = Gemm(x, w)", (6, 5), 0),
    "gemm, other way": ("float[2,6] x, float[5,6] w", "y = Gemm<transB = 1>(x, w)", (5, 6), 1),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_sums_over_all_channels_can_be_cut(case: str) -> None:
    declared, body, shape, axis = BODIES[case]
    source = build(f"f ({declared}) => (float y) {{ {body} }}", w=rng_weight(*shape))
    assert input_axis(source.graph[0]) == axis


def test_a_weight_that_is_no_constant_cannot_be_cut() -> None:
    source = build("f (float[2,6] x, float[6,5] v) => (float[2,5] y) { y = MatMul(x, v) }")
    assert input_axis(source.graph[0]) is None


@pytest.mark.parametrize("case", ["conv", "matmul", "gemm, other way"])
def test_columns_and_the_rest_make_the_whole(case: str) -> None:
    declared, body, shape, axis = BODIES[case]
    source = build(f"f ({declared}) => (float y) {{ {body} }}", w=rng_weight(*shape))
    codes = np.arange(np.prod(shape), dtype=np.int8).reshape(shape) + 1
    taken = np.array([1, 4])
    rest = without_columns(source.graph[0], codes, taken)
    columns = columns_of(source.graph[0], codes.astype(np.float32), taken)
    assert columns.shape[axis or 0] == 2
    assert columns.sum() + rest.sum(dtype=np.float64) == codes.sum(dtype=np.float64)
    assert (codes > 0).all()
    assert (rest == 0).sum() == columns.size


def test_a_plan_cannot_be_changed_through_what_it_was_made_of() -> None:
    channels, weights = np.array([1, 2]), {"n": ONE}
    split = ClusterSplit((Cluster(channels, ONE, weights), Cluster(np.array([5]), ONE, {})))
    channels[0] = 7
    weights.clear()
    assert split.taken.tolist() == [1, 2, 5]
    assert dict(split.parts[0].weights) == {"n": ONE}
    with pytest.raises(ValueError, match="read-only"):
        split.parts[0].channels[0] = 3
