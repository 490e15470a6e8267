"""Rewrites keep the function in whatever order they come, and however often."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.config import Config
from onnxq.manager import PassManager
from onnxq.passes.rewrite import float_rewrites
from onnxq.runtime.session import run_model
from onnxq.runtime.survey import Survey
from tests.passes.rewrite.measured_norms import BLOCKS, network

if TYPE_CHECKING:
    from onnxq.graph.prior import Prior
    from onnxq.passbase import RewritePass

NAMES = [rewrite.name for rewrite in float_rewrites()]


@settings(max_examples=25, deadline=None)
@given(
    blocks=st.lists(st.sampled_from(sorted(BLOCKS)), min_size=2, max_size=5),
    order=st.lists(st.sampled_from(NAMES), min_size=1, max_size=12),
    granularity=st.sampled_from(["channel", "tensor"]),
    seed=st.integers(0, 1000),
)
def test_any_sequence_of_rewrites_keeps_the_function(
    blocks: list[str],
    order: list[str],
    granularity: str,
    seed: int,
) -> None:
    source, x = network(blocks, seed)
    survey = Survey(lambda count: islice(({"x": one[np.newaxis]} for one in x), count))
    prior: Prior = {}
    config = Config(weight_granularity=granularity)
    known: dict[str, RewritePass] = {
        rewrite.name: rewrite for rewrite in float_rewrites(prior, survey=survey, config=config)
    }
    before = run_model(source, {"x": x}, None)["y"]

    manager = PassManager()
    after = manager.rewrite(source, [known[name] for name in order], prior=prior)

    assert all(entry.rolled_back is None for entry in manager.trace.entries)
    np.testing.assert_allclose(run_model(after, {"x": x}, None)["y"], before, atol=5e-4)
