from __future__ import annotations

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.touching import touching
from tests.passes.plan.planning import hand_context
from tests.passes.rewrite.building import build, rng_weight

SOURCE = """f (float[1,4,8,8] x, float[6,4,1,1] w, float[6,6,1,1] v) => (float[1,6,8,8] y)
    { c = Conv(x, w) r = Relu(c) s = Sigmoid(r) d = Conv(s, v) y = Exp(d) }"""


def touched(*names: str, float_nodes: tuple[str, ...] = ()) -> list[str]:
    source = build(SOURCE, w=rng_weight(6, 4, 1, 1), v=rng_weight(6, 6, 1, 1))
    context = hand_context(source)
    reasons = dict.fromkeys(float_nodes, "asked")
    plan = AssignIntegers(forced_float=reasons).revise(context, QuantPlan())
    return list(touching(names, source.graph, plan, context.target))


def test_writer_and_readers() -> None:
    assert touched("s") == ["node_s", "node_d"]


def test_what_vanishes_into_the_writer() -> None:
    assert touched("r") == ["node_r", "node_c", "node_s"]


def test_an_input_has_readers_alone() -> None:
    assert touched("x") == ["node_c"]


def test_float_nodes_and_unknown_operators_do_not_count() -> None:
    assert touched("s", float_nodes=("node_s",)) == ["node_d"]
    assert touched("y") == []


def test_weights_do_not_count() -> None:
    assert touched("v") == []
