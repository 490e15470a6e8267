from __future__ import annotations

import pytest

from onnxq.graph.channel_classes import ChannelClass, channel_classes
from onnxq.graph.channel_routing import read_routing
from tests.passes.rewrite.building import build, rng_weight


def _classes(line: str, outs: str = "y = Conv(b, u)") -> dict[str, ChannelClass]:
    source = build(
        f"""f (float[1,3,6,6] x, float[8,3,1,1] w, float[8,1,3,3] d, float[5,8,1,1] u,
            float[8] c, float[8,1,1] k, float[8,2,3,3] g, int64[8] p, float[4] s)
            => (float[A,B,C,D] y) {{
            a = Conv(x, w, c)
            {line}
            {outs} }}""",
        w=rng_weight(8, 3, 1, 1),
        d=rng_weight(8, 1, 3, 3),
        u=rng_weight(5, 8, 1, 1),
        c=rng_weight(8),
        k=rng_weight(8, 1, 1),
        g=rng_weight(8, 2, 3, 3),
        p=[0, 0, 1, 1, 0, 0, 1, 1],
        s=[1.0, 1.0, 2.0, 2.0],
    )
    found = channel_classes(source.graph, read_routing(source.graph), {})
    return {str(value.name): item for value, item in found.items()}


@pytest.mark.parametrize(
    "line",
    [
        "b = Relu(a)",
        "b = Conv<group=8>(a, d)",
        "b = Mul(a, k)",
        "b = PRelu(a, k)",
        "e = GlobalAveragePool(a)\n f = Sigmoid(e)\n b = Mul(a, f)",
        "b = MaxPool<kernel_shape=[2,2]>(a)",
        "b = Pad(a, p)",
        "b = Resize(a, , s)",
        "b = InstanceNormalization(a, c, c)",
    ],
    ids=["relu", "depthwise", "mul", "prelu", "squeeze", "pool", "pad", "resize", "norm"],
)
def test_one_free_class(line: str) -> None:
    found = _classes(line)
    assert found["a"] is found["b"]
    assert found["a"].pinned is None
    assert found["a"] is not found["y"]
    held = {(item.node.name, item.position, item.axis) for item in found["a"].parameters}
    assert {("node_a", 1, 0), ("node_a", 2, 0), ("node_y", 1, 1)} <= held


@pytest.mark.parametrize(
    "line",
    [
        "b = Softmax<axis=1>(a)",
        "b = Conv<group=4, pads=[1,1,1,1]>(a, g)",
        "b = Transpose<perm=[0,1,3,2]>(a)",
        "b, i = MaxPool<kernel_shape=[2,2]>(a)\n j = Cast<to=1>(i)\n b2 = Relu(j)",
    ],
    ids=["softmax", "grouped", "unknown", "indices"],
)
def test_pinned(line: str) -> None:
    assert _classes(line)["a"].pinned is not None


def test_inputs_and_outputs_are_pinned() -> None:
    found = _classes("b = Relu(a)")
    assert found["x"].pinned == "'x' is a graph input"
    assert found["y"].pinned == "'y' is a graph output"
