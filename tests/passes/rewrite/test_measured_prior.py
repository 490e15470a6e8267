"""What rewrites leave in the prior is what the values really are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.manager import PassManager
from onnxq.passes.rewrite import float_rewrites
from tests.passes.rewrite.measured_norms import BLOCKS, measured, network

if TYPE_CHECKING:
    from onnxq.graph.prior import Prior


def agreeing(blocks: list[str], seed: int) -> list[str]:
    """Asserts that all entries agree with the data, and returns their names."""
    source, x = network(blocks, seed)
    prior: Prior = {}
    after = PassManager().rewrite(source, float_rewrites(prior), to_fixpoint=True, prior=prior)
    names = sorted(prior)
    for name, array in zip(names, measured(after, names, x), strict=True):
        axes = tuple(axis for axis in range(array.ndim) if axis != 1)
        mean, deviation = prior[name]
        size = float(array.std())
        np.testing.assert_allclose(mean, array.mean(axes), atol=2e-3 * size, err_msg=name)
        np.testing.assert_allclose(deviation, array.std(axes), atol=2e-3 * size, err_msg=name)
    return names


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_leaves_something_known(block: str) -> None:
    assert agreeing(["plain", block, "plain"], 0)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(BLOCKS)), min_size=2, max_size=5),
    st.integers(0, 1000),
)
def test_what_is_known_is_so(blocks: list[str], seed: int) -> None:
    agreeing(blocks, seed)


def test_joined_siblings_stay_known() -> None:
    names = agreeing(["siblings", "plain"], 1)
    assert any("merged" in name for name in names)
