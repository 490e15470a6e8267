from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir

from onnxq.conformance.check import broken_rules
from onnxq.conformance.site import Site, read_pair, same_params
from onnxq.plan.target import load_target
from tests.conformance.planted_faults import CLEAN, made
from tests.passes.rewrite.building import build


def _node(model: ir.Model, output: str) -> ir.Node:
    return next(n for n in model.graph if n.outputs[0].name == output)


def test_a_layer_sees_what_comes_in_and_what_writes_its_codes() -> None:
    model = made(CLEAN["cpu"])
    site = Site(_node(model, "c"), load_target("cpu"))
    assert site.heavy
    assert site.layer
    assert site.reads_codes
    assert [value.name for value, _ in site.data] == ["xd"]
    assert site.weight is not None
    assert site.weight.axis == 0
    assert site.weight.stored is not None
    assert site.weight.stored.shape == (8, 4, 3, 3)
    assert site.written.name == "r"


def test_where_relu_has_a_pair_of_its_own_the_layer_writes_its_own_output() -> None:
    model = made(CLEAN["qnn"])
    assert Site(_node(model, "c"), load_target("qnn")).written.name == "c"


def test_widened_codes_are_seen_as_stored() -> None:
    model = build(
        """f (float[1,4] x, int4[4,4] q, float s) => (float[1,4] y) {
            c = Cast<to=3>(q)
            w = DequantizeLinear(c, s)
            y = MatMul(x, w) }""",
        q=np.ones((4, 4), ml_dtypes.int4),
        s=np.float32(0.1),
    )
    site = Site(_node(model, "y"), load_target("cpu"))
    assert site.weight is not None
    assert site.weight.stored is not None
    assert site.weight.dtype is ir.DataType.INT8
    assert not site.reads_codes


def test_codes_that_are_looked_up_are_seen() -> None:
    model = build(
        """f (float[1,4] x, int4[4,4] q, int8[2] t, float s) => (float[1,4] y) {
            i = Cast<to=6>(q)
            c = Gather(t, i)
            w = DequantizeLinear(c, s)
            y = MatMul(x, w) }""",
        q=np.ones((4, 4), ml_dtypes.int4),
        t=np.array([-5, 64], np.int8),
        s=np.float32(0.1),
    )
    site = Site(_node(model, "y"), load_target("cpu"))
    assert site.weight is not None
    assert site.weight.stored is not None
    assert (site.weight.stored == 64).all()


def test_pairs_are_compared_by_what_their_codes_mean() -> None:
    model = made(CLEAN["cpu"])
    x, again, y = (read_pair(_node(model, name)) for name in ("xq", "xd", "rq"))
    assert same_params(x, again)
    assert not same_params(x, y)
    assert x.asymmetric
    assert not y.asymmetric


def test_one_scale_in_a_list_is_one_scale() -> None:
    model = build(
        "f (float[1,4] x, float[1] s) => (float[1,4] y) { q = QuantizeLinear(x, s)\n"
        "y = DequantizeLinear(q, s) }",
        s=np.full(1, 0.1, np.float32),
    )
    pair = read_pair(_node(model, "q"))
    assert pair.axis is None
    assert pair.dtype is ir.DataType.UINT8


def test_nodes_without_their_inputs_are_no_crash() -> None:
    model = made(CLEAN["cpu"])
    for name, count in (("c", 1), ("r", 0), ("rq", 1), ("xd", 0)):
        _node(model, name).resize_inputs(count)
    for target in ("cpu", "tensorrt", "qnn"):
        found = broken_rules(model, load_target(target))
        assert {("pair-form", "node_rq"), ("pair-form", "node_xd")} <= {
            (f.rule, f.node) for f in found
        }
