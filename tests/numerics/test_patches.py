"""Patches times a weight are what a convolution computes."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.window import window_of
from onnxq.numerics.patches import patches
from onnxq.runtime.session import run_model
from tests.passes.rewrite.building import build, rng_weight


@pytest.mark.parametrize(
    ("attributes", "weight", "shape"),
    [
        ("kernel_shape = [3, 3]", (6, 4, 3, 3), "2,4,9,8"),
        ("strides = [2, 1], pads = [1, 2, 0, 1]", (6, 4, 3, 2), "2,4,9,8"),
        ("dilations = [2, 1], pads = [2, 0, 2, 0], group = 2", (6, 2, 3, 3), "1,4,9,8"),
        ("group = 4, pads = [1, 1, 1, 1]", (4, 1, 3, 3), "1,4,6,6"),
        ("strides = [3], pads = [1, 1]", (5, 4, 3), "2,4,11"),
        ("pads = [0, 1, 1, 0, 1, 1]", (2, 3, 1, 3, 3), "1,3,2,5,4"),
    ],
)
def test_patches_times_the_weight_are_the_convolution(
    attributes: str, weight: tuple[int, ...], shape: str
) -> None:
    w = rng_weight(*weight)
    size, own = ",".join("abcdefgh"[: len(weight)]), ",".join(map(str, weight))
    text = f"""g (float[{shape}] x, float[{own}] w) => (float[{size}] y) {{
        y = Conv <{attributes}> (x, w) }}"""
    graph = build(text, w=w)
    x = rng_weight(*(int(n) for n in shape.split(",")), seed=1)
    y = run_model(graph, {"x": x}, None)["y"]
    window = window_of(graph.graph[0])
    assert not isinstance(window, str)
    group = int(x.shape[1] / weight[1])

    places = np.stack(np.unravel_index(np.arange(y[0, 0].size), y.shape[2:]), axis=1)
    offsets = [window.offsets(axis) for axis in range(len(window.kernel))]
    found = patches(x, places * window.strides, offsets, group)

    rows = w.reshape(group, weight[0] // group, -1)
    outputs = (found @ rows.swapaxes(1, 2)).reshape(group, len(x), -1, rows.shape[1])
    wanted = y.reshape(len(x), group, rows.shape[1], -1)
    np.testing.assert_allclose(outputs.transpose(1, 0, 3, 2), wanted, rtol=1e-4, atol=1e-5)
