from __future__ import annotations

import pytest

from onnxq.graph.edge_layers import edge_layers
from tests.passes.rewrite.building import build, rng_weight


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ("a = Conv(x, u) b = Conv(a, v) y = Conv(b, w)", {"a", "y"}),
        ("n = Neg(x) a = Relu(n) b = Conv(a, v) c = Conv(b, w) d = Conv(c, u) y = Relu(d)", "bd"),
        ("a = Conv(x, u) b = Conv(x, v) s = Add(a, b) y = Conv(s, w)", "aby"),
        ("a = Conv(x, u) b = Conv(a, v) c = Conv(b, w) y = Add(a, c)", "ac"),
        ("a = Conv(x, u) b = Conv(a, v) s = Add(a, x) t = Conv(s, w) y = Add(b, t)", "abt"),
        ("a = Conv(x, u) m = Conv(a, v) y = Conv(m, w)", "ay"),
        ("a = Relu(x) y = Neg(a)", ""),
    ],
    ids=["chain", "functions", "two firsts", "early to output", "skip", "middle", "none"],
)
def test_the_layers_nearest_to_inputs_and_outputs_are_found(nodes: str, edges: str) -> None:
    source = build(
        f"""f (float[1,4,4,4] x, float[4,4,1,1] u, float[4,4,1,1] v, float[4,4,1,1] w)
            => (float[1,4,4,4] y) {{ {nodes} }}""",
        u=rng_weight(4, 4, 1, 1), v=rng_weight(4, 4, 1, 1), w=rng_weight(4, 4, 1, 1),
    )  # fmt: skip
    assert edge_layers(source.graph) == {f"node_{name}" for name in edges}


def test_a_product_of_two_values_is_no_layer() -> None:
    source = build(
        """f (float[4,4] x, float[4,4] w) => (float[4,4] y) {
            a = MatMul(x, w)
            s = MatMul(a, x)
            y = MatMul(s, w) }""",
        w=rng_weight(4, 4),
    )
    assert edge_layers(source.graph) == {"node_a", "node_y"}
