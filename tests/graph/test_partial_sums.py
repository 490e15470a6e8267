from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.graph.partial_sums import WeightPart, cut_sum, pick_channels
from onnxq.graph.qdq import Affine, GraphEditor
from onnxq.graph.spec import violations_qdq
from tests.passes.rewrite.building import build, ops
from tests.support import Level, run

if TYPE_CHECKING:
    import onnx_ir as ir

FINE = Affine(np.asarray(1 / 64, np.float32), np.asarray(128, np.uint8))
WHOLE = Affine(np.asarray(1, np.float32), np.asarray(0, np.int8))
NARROW = Affine(np.asarray(0.25, np.float32), np.asarray(128, np.uint8))


def cut(source: ir.Model, parts: list[list[int]], between: Affine | None = None) -> ir.Model:
    """Cuts the node that writes y; its weight of small integers is w, whose rest is zeroed."""
    node = source.graph.node("node_y")
    weight = source.graph.initializers["w"].const_value.numpy()  # type: ignore[union-attr]
    axis = 1 if node.op_type == "Conv" else 0
    editor = GraphEditor(source.graph)
    made = []
    rest = weight.copy()
    for channels in parts:
        taken = np.array(channels)
        x = pick_channels(editor, source.graph.inputs[0], taken, 1 if axis else -1, FINE)
        made.append(WeightPart(x, np.take(weight, taken, axis).astype(np.int8), WHOLE))
        rest[(slice(None),) * axis + (taken,)] = 0
    node.replace_input_with(1, editor.constant("rest", rest))
    cut_sum(editor, node, made, between)
    assert violations_qdq(source) == []
    return source


def small(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)


def product() -> ir.Model:
    return build(
        "f (float[3,6] x, float[6,4] w) => (float[3,4] y) { y = MatMul(x, w) }", w=small(6, 4)
    )


def convolution() -> ir.Model:
    return build(
        """f (float[1,6,5,5] x, float[4,6,3,3] w, float[4] b) => (float[1,4,3,3] y) {
            y = Conv<strides = [2,2], pads = [1,1,1,1]>(x, w, b) }""",
        w=small(4, 6, 3, 3), b=small(4),
    )  # fmt: skip


def grid(*shape: int) -> np.ndarray:
    """Numbers that the fine scale holds exactly."""
    return (np.random.default_rng(1).integers(-64, 64, shape) / 64).astype(np.float32)


@pytest.mark.parametrize("parts", [[[1]], [[0, 5], [2]], [[0], [1], [2, 3]]])
@pytest.mark.parametrize("case", ["product", "convolution"])
def test_float_sums_are_the_whole_again(case: str, parts: list[list[int]]) -> None:
    make, shape = (product, (3, 6)) if case == "product" else (convolution, (1, 6, 5, 5))
    feed = {"x": grid(*shape)}
    wanted = run(make(), feed)["y"]
    found = run(cut(make(), parts), feed)["y"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("level", ["off", "all"])
@pytest.mark.parametrize("channels", [[2, 3], [0, 1], [4, 5], [3]])
def test_neighbours_of_a_product_are_split_off(level: Level, channels: list[int]) -> None:
    feed = {"x": grid(3, 6)}
    source = cut(product(), [channels])
    assert ops(source).count("Split") == 1
    assert "Gather" not in ops(source)
    np.testing.assert_allclose(run(source, feed, level)["y"], run(product(), feed)["y"], atol=1e-5)


@pytest.mark.parametrize("channels", [[2, 4], [3, 2]])
def test_channels_that_lie_apart_are_gathered(channels: list[int]) -> None:
    assert "Split" not in ops(cut(product(), [channels]))


def test_neighbours_of_a_convolution_are_gathered_which_is_faster_there() -> None:
    assert "Split" not in ops(cut(convolution(), [[2, 3]]))


@pytest.mark.parametrize(("count", "way"), [(2, "Gather"), (3, "Split")])
def test_few_of_many_neighbours_are_gathered(count: int, way: str) -> None:
    source = build(
        "f (float[3,144] x, float[144,4] w) => (float[3,4] y) { y = MatMul(x, w) }",
        w=small(144, 4),
    )
    assert way in ops(cut(source, [list(range(count))]))


def test_products_meet_in_sum_and_convolutions_in_add() -> None:
    parts = [[0, 5], [2]]
    assert ops(cut(product(), parts)).count("Sum") == 1
    made = ops(cut(convolution(), parts, NARROW))
    assert made.count("Add") == 2
    # two parts, three sums of channels and one of the first two
    assert made.count("QuantizeLinear") == 2 + 3 + 1


def test_sums_are_rounded_where_that_is_asked_for() -> None:
    feed = {"x": grid(1, 6, 5, 5)}
    found = run(cut(convolution(), [[1]], NARROW), feed)["y"]
    assert np.array_equal(found * 4, np.rint(found * 4))
    assert np.abs(found - run(convolution(), feed)["y"]).max() <= 2 * 0.125 + 1e-6


def test_the_node_keeps_its_name_and_its_value() -> None:
    source = product()
    value = source.graph.outputs[0]
    node = cut(source, [[1]]).graph.node("node_y")
    assert node.outputs[0] is value is source.graph.outputs[0]
    assert node.op_type == "Sum"
    assert not node.attributes
