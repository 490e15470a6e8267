from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.query import is_op
from onnxq.passes.plan.assign_integers import AssignIntegers
from tests.passes.lower.optimized import quantized
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run


@pytest.mark.parametrize("reader", ["Gelu", "Add"])
def test_a_float_node_reads_what_a_float_node_wrote_as_it_is(reader: str) -> None:
    """The residual of a transformer: what is normalized is multiplied on integers, and added."""
    line = "z = Gelu(n)" if reader == "Gelu" else "z = Add(n, g)"
    source = build(
        f"""f (float[1,5,8] x, float[1,5,8] g, float[8] s, float[8,8] w) => (float[1,5,8] z,
                float[1,5,8] y) {{
            n = LayerNormalization(x, s)
            y = MatMul(n, w)
            {line} }}""",
        s=rng_weight(8),
        w=rng_weight(8, 8),
    )
    made = quantized(source, AssignIntegers(keep_float=("node_z",))).model
    read = next(node for node in made.graph if node.name == "node_z").inputs[0]
    assert is_op(read.producer() if read else None, "LayerNormalization")
    product = next(node for node in made.graph if node.op_type == "MatMul")
    assert all(is_op(value.producer(), "DequantizeLinear") for value in product.inputs if value)
    feeds = feeds_for(source, seed=3)
    plain, fused = run(made, feeds, "off"), run(made, feeds, "all")
    wanted = run(source, feeds)["z"]
    for found in (plain, fused):
        np.testing.assert_allclose(found["z"], wanted, atol=1e-5)
    assert np.abs(plain["y"] - fused["y"]).max() < 0.02 * np.abs(plain["y"]).max()
