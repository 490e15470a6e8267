"""Patches times a weight are what a convolution computes."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.reach import reach_of
from onnxq.graph.weight_rows import from_rows, to_rows
from onnxq.numerics.patches import patches
from onnxq.runtime.session import run_model
from tests.passes.rewrite.building import build, rng_weight


@pytest.mark.parametrize(
    ("call", "weight", "shape"),
    [
        ("Conv <kernel_shape = [3, 3]>", (6, 4, 3, 3), (2, 4, 9, 8)),
        ("Conv <strides = [2, 1], pads = [1, 2, 0, 1]>", (6, 4, 3, 2), (2, 4, 9, 8)),
        (
            "Conv <dilations = [2, 1], pads = [2, 0, 2, 0], group = 2>",
            (6, 2, 3, 3),
            (1, 4, 9, 8),
        ),
        ("Conv <group = 4, pads = [1, 1, 1, 1]>", (4, 1, 3, 3), (1, 4, 6, 6)),
        ("Conv <strides = [3], pads = [1, 1]>", (5, 4, 3), (2, 4, 11)),
        ("Conv <pads = [0, 1, 1, 0, 1, 1]>", (2, 3, 1, 3, 3), (1, 3, 2, 5, 4)),
        ("ConvTranspose", (4, 6, 3, 2), (2, 4, 5, 4)),
        ("ConvTranspose <pads = [1, 0, 2, 1]>", (4, 6, 3, 3), (2, 4, 5, 4)),
        ("ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]>", (4, 6, 4, 4), (2, 4, 5, 4)),
        (
            "ConvTranspose <strides = [2, 3], output_padding = [1, 2], group = 2>",
            (4, 3, 3, 2),
            (1, 4, 5, 4),
        ),
        ("ConvTranspose <strides = [2, 1], dilations = [1, 2]>", (4, 2, 3, 3), (2, 4, 5, 4)),
        ("ConvTranspose <strides = [4], pads = [0, 1], group = 4>", (4, 1, 2), (2, 4, 7)),
    ],
)
def test_patches_times_the_weight_are_the_convolution(
    call: str, weight: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    w = rng_weight(*weight)
    sizes, own = (",".join(map(str, numbers)) for numbers in (shape, weight))
    unknown = ",".join("abcde"[: len(shape)])
    text = f"""g (float[{sizes}] x, float[{own}] w) => (float[{unknown}] y) {{
        y = {call} (x, w) }}"""
    graph = build(text, w=w)
    x = rng_weight(*shape, seed=1)
    y = run_model(graph, {"x": x}, None)["y"]
    node = graph.graph[0]
    reach, rows = reach_of(node), to_rows(node, w)
    assert not isinstance(reach, str)

    assert reach.outputs(x.shape[2:]) == y.shape[2:]
    places = np.stack(np.unravel_index(np.arange(y[0, 0].size), y.shape[2:]), axis=1)
    found = patches(x, places * reach.steps, reach.offsets, len(rows), reach.spread)

    outputs = (found @ rows.swapaxes(1, 2)).reshape(len(rows), len(x), -1, rows.shape[1])
    wanted = y.reshape(len(x), len(rows), rows.shape[1], -1)
    np.testing.assert_allclose(outputs.transpose(1, 0, 3, 2), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(from_rows(node, rows, w.shape), w)


@pytest.mark.parametrize("asked", ["output_shape = [9, 9]", 'auto_pad = "SAME_UPPER"'])
def test_padding_by_the_size_of_the_output_is_not_read(asked: str) -> None:
    graph = build(
        f"""g (float[1,4,5,5] x, float[4,2,3,3] w) => (float[1,2,a,b] y) {{
        y = ConvTranspose <strides = [2, 2], {asked}> (x, w) }}""",
        w=rng_weight(4, 2, 3, 3),
    )
    assert reach_of(graph.graph[0]) == "it pads by the size of its output"
