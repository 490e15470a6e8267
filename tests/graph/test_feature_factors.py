from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.factored_constant import FactoredConstant
from onnxq.graph.feature_factors import feature_factors
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.query import weight_of
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir


def normed(body: str, out: str = "N,T,3") -> ir.Model:
    return build(
        f"""f (float[N,T,6] x, float[6] g, float[6,3] w) => (float[{out}] y) {{
            n = LayerNormalization(x, g) {body} }}""",
        g=rng_weight(6),
        w=rng_weight(6, 3),
    )


def test_a_norm_writes_and_a_layer_reads_one_factor_per_feature() -> None:
    found = feature_factors(normed("y = MatMul(n, w)").graph)
    assert found.count == 6
    (layer,) = found.layers
    assert layer.reads.tolist() == list(range(6))
    assert layer.writes.tolist() == [-1] * 3
    assert [(c.node.op_type, c.position) for c in found.constants] == [("LayerNormalization", 1)]
    assert found.bound == {}


def test_what_only_writes_or_only_reads_is_not_free() -> None:
    source = normed("y = MatMul(x, w)")
    found = feature_factors(source.graph)
    assert found.count == 0
    assert list(found.bound.values()) == ["what computes its input takes no factors"]


def test_a_value_of_unknown_rank_binds_what_reaches_it() -> None:
    source = normed("r = Relu(n) y = MatMul(r, w)")
    relu = next(node for node in source.graph if node.op_type == "Relu")
    relu.outputs[0].shape = None
    found = feature_factors(source.graph)
    assert found.count == 0


def test_features_that_are_summed_over_heads_share_a_factor() -> None:
    source = build(
        """f (float[N,T,6] x, float[6] g, int64[4] s, float[3,2] w) => (float[N,T,2,2] y) {
            n = LayerNormalization(x, g)
            r = Reshape(n, s)
            y = MatMul(r, w) }""",
        g=rng_weight(6),
        s=np.array([0, 0, 2, 3]),
        w=rng_weight(3, 2),
    )
    found = feature_factors(source.graph)
    assert found.count == 3
    assert found.constants[0].carries.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_constant_is_scaled_by_broadcasting_and_keeps_its_dtype() -> None:
    source = build("f (float[N,4] x, float k) => (float[N,4] y) { y = Add(x, k) }", k=np.float32(2))
    item = FactoredConstant(source.graph[0], 1, np.array([0, 1, -1, 1]))
    scaled = item.scaled(np.array([3.0, 5.0, 1.0]))
    assert item.holds(scaled)
    assert not item.holds(scaled * 1e300)
    item.write(scaled)
    written = weight_of(source.graph[0].inputs[1])
    assert written is not None
    assert written.dtype == np.float32
    assert written.tolist() == [6, 10, 2, 10]


def test_taps_have_one_order_for_all_kinds_of_layer() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)  # groups, in, out, taps
    forms = {
        "Conv<group=2>": (table.swapaxes(1, 2).reshape(8, 3, 5), "float[N,6,L]"),
        "ConvTranspose<group=2>": (table.reshape(6, 4, 5), "float[N,6,L]"),
        "MatMul": (table[0, :, :, 0], "float[N,3]"),
        "Gemm<transB=1>": (table[0, :, :, 0].T, "float[N,3]"),
    }
    for kind, (weight, shape) in forms.items():
        dims = ",".join(map(str, weight.shape))
        rank = "N,M" if len(weight.shape) == 2 else "N,M,L"
        source = build(
            f"f ({shape} x, float[{dims}] w) => (float[{rank}] y) {{ y = {kind}(x, w) }}", w=weight
        )
        layer = linear_layer(source.graph[0])
        assert isinstance(layer, LinearLayer)
        wanted = table if len(weight.shape) == 3 else table[:1, :, :, :1]
        np.testing.assert_array_equal(layer.taps(), wanted)


def test_weights_are_not_copied() -> None:
    """All layers of a model are known at once, which may be gigabytes."""
    size, layers = 256, 6
    names = [f"w{number}" for number in range(layers)]
    source = build(
        f"""f (float[N,{size}] v0{"".join(f", float[{size},{size}] {name}" for name in names)})
            => (float[N,{size}] y) {{
            {" ".join(f"v{n + 1} = MatMul(v{n}, w{n})" for n in range(layers))}
            y = Relu(v{layers}) }}""",
        **{name: rng_weight(size, size) for name in names},
    )
    tracemalloc.start()
    try:
        found = feature_factors(source.graph)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.layers) == layers
    assert most < size * size * 8
