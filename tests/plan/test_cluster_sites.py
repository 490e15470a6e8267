from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.plan.cluster_sites import float_chain, value_fault, written_value
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.target import load_target
from tests.passes.rewrite.building import build, rng_weight
from tests.plan.checking import planned

if TYPE_CHECKING:
    import onnx_ir as ir

CPU = load_target("cpu")
ONE = planned()


def network(body: str) -> ir.Model:
    return build(
        f"""f (float[1,4,4,4] x, float[4,4,1,1] w, float[4,4,1,1] v) => (float[1,4,4,4] y)
            {{ {body} }}""",
        w=rng_weight(4, 4, 1, 1), v=rng_weight(4, 4, 1, 1),
    )  # fmt: skip


def plan_of(source: ir.Model, real: tuple[str, ...] = (), *groups: frozenset[str]) -> QuantPlan:
    values = [*source.graph.inputs, *(out for node in source.graph for out in node.outputs)]
    names = [str(value.name) for value in values]
    return QuantPlan(dict.fromkeys(names, ONE), float_nodes=dict.fromkeys(real, ""), groups=groups)


def value(source: ir.Model, name: str) -> ir.Value:
    return next(out for node in source.graph for out in node.outputs if out.name == name)


SILU = "s = Sigmoid(x) a = Mul(x, s) y = Conv(a, w)"


def test_operators_without_weights_give_up_their_kernels() -> None:
    source = network(SILU)
    chain = float_chain(value(source, "a"), CPU, plan_of(source))
    assert not isinstance(chain, str)
    assert {node.name for node in chain.nodes} == {"node_a", "node_s"}
    assert {inner.name for inner in chain.inner} == {"x", "s"}


@pytest.mark.parametrize("real", [("node_a",), ("node_a", "node_s")])
def test_what_a_float_node_writes_needs_nothing(real: tuple[str, ...]) -> None:
    source = network(SILU)
    assert float_chain(value(source, "a"), CPU, plan_of(source, real)) == ((), (), ())


def test_a_graph_input_needs_nothing() -> None:
    source = network("y = Conv(x, w)")
    assert float_chain(source.graph.inputs[0], CPU, plan_of(source)) == ((), (), ())


def test_float_readers_of_what_is_in_front_do_not_mind() -> None:
    source = network("t = Tanh(x) a = Mul(x, t) y = Conv(a, w)")
    chain = float_chain(value(source, "a"), CPU, plan_of(source, ("node_t",)))
    assert not isinstance(chain, str)
    assert [node.name for node in chain.nodes] == ["node_a"]


def test_a_convolution_in_front_of_them_stays_on_integers() -> None:
    source = network("c = Conv(x, v) a = HardSwish(c) y = Conv(a, w)")
    chain = float_chain(value(source, "a"), CPU, plan_of(source))
    assert not isinstance(chain, str)
    assert [node.name for node in chain.nodes] == ["node_a"]
    assert chain.inner == ()
    assert [written.name for written in chain.written] == ["c"]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("a = Conv(x, v) y = Conv(a, w)", "Conv 'node_a' writes one scale"),
        ("c = Conv(x, v) a = Relu(c) y = Conv(a, w)", "Relu 'node_a' writes one scale"),
        ("a = HardSwish(x) p = Conv(a, w) q = Conv(x, v) y = Add(p, q)", "codes of 'x'"),
    ],
)
def test_what_stands_in_the_way_is_named(body: str, wanted: str) -> None:
    source = network(body)
    fault = float_chain(value(source, "a"), CPU, plan_of(source))
    assert isinstance(fault, str)
    assert wanted in fault


def test_values_that_share_params_stay_whole() -> None:
    source = network(SILU)
    plan = plan_of(source, ("node_a", "node_s"), frozenset({"a", "x"}))
    assert value_fault(value(source, "a"), CPU, plan) == "it shares its scale with other values"


def test_narrow_types_stay_whole() -> None:
    source = network(SILU)
    plan = plan_of(source).with_values({"a": planned("uint4")})
    assert value_fault(value(source, "a"), CPU, plan) == "uint4 is stored wider than it is"


def test_a_relu_that_vanishes_counts_as_written() -> None:
    source = network("c = Conv(x, w) y = Relu(c)")
    node = source.graph.node("node_c")
    assert written_value(node, plan_of(source)).name == "c"
    assert written_value(node, plan_of(source).without(["c"])).name == "y"
