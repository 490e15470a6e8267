"""Each numbered rule of the pass, on plans of AssignIntegers; no session runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onnxq.errors import TargetError
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.narrow_activations import NarrowActivations
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.plan.planning import build, eager_target, hand_context, revised
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir


def four(nodes: str, channels: int = 4) -> ir.Model:
    """Layers u, v, w and z in ``nodes``, which make y of x."""
    shape = (channels, channels, 1, 1)
    declared = ", ".join(f"float[{channels},{channels},1,1] {name}" for name in "uvwz")
    return build(
        f"""f (float[1,{channels},4,4] x, {declared}) => (float[1,{channels},4,4] y)
            {{ {nodes} }}""",
        **{name: rng_weight(*shape, seed=i) for i, name in enumerate("uvwz")},
    )


def plans(source: ir.Model, pass_: NarrowActivations) -> tuple[QuantPlan, QuantPlan]:
    context = hand_context(source)
    before = revised(AssignIntegers(per_channel=False), context, QuantPlan())
    return before, revised(pass_, context, before)


def types(source: ir.Model, pass_: NarrowActivations | None = None) -> dict[str, str]:
    _, after = plans(source, pass_ or NarrowActivations(4))
    return {name: str(p.spec.dtype) for name, p in after.values.items() if name not in "uvwz"}


CHAIN = "a = Conv(x, u) b = Conv(a, v) c = Conv(b, w) y = Conv(c, z)"


def test_rule_1_what_layers_multiply_is_narrow() -> None:
    assert types(four(CHAIN)) == {
        "x": "uint8", "a": "uint4", "b": "uint4", "c": "uint8", "y": "uint8",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("middle", "wide"),
    [
        ("f = LeakyRelu(b) c = Conv(f, w)", "b"),
        ("g = Sigmoid(b) f = Mul(b, g) c = Conv(f, w)", "bg"),
        ("d = Conv(a, z) f = Add(b, d) c = Conv(f, w)", "bd"),
        ("d = Neg(b) f = Neg(d) c = Conv(f, w)", "b"),
    ],
    ids=["leaky-relu", "silu", "sum", "float"],
)
def test_rule_1_what_functions_and_sums_read_is_not(middle: str, wide: str) -> None:
    found = types(four(f"a = Conv(x, u) b = Conv(a, v) {middle} y = Conv(c, z)"))
    assert found["f"] == "uint4"
    assert {name for name in found if found[name] == "uint8"} == {*wide, "x", "c", "y"} & {*found}


def test_rule_1_values_that_share_params_are_narrowed_along() -> None:
    found = types(
        four(
            """a = Conv(x, u)
            b = Conv(a, v)
            p = MaxPool<kernel_shape = [1, 1]>(b)
            c = Conv(p, w)
            y = Conv(c, z)"""
        )
    )
    assert (found["b"], found["p"]) == ("uint4", "uint4")


def test_rule_1_a_layer_that_stays_float_narrows_nothing() -> None:
    source = four(CHAIN)
    context = hand_context(source)
    plan = revised(AssignIntegers(keep_float=("node_b",)), context, QuantPlan())
    after = revised(NarrowActivations(4), context, plan)
    assert "a" not in after.values or after.values["a"].spec.dtype.bits == 8


def test_rule_2_the_first_and_the_last_layer_keep_the_targets_type() -> None:
    before, after = plans(four(CHAIN), NarrowActivations(4))
    assert after.values["x"] is before.values["x"]
    refused = [
        (note.where, note.text) for note in after.notes if note.source == "narrow-activations"
    ]
    assert ("x", "'node_a' is a first or a last layer") in refused
    assert ("c", "'node_y' is a first or a last layer") in refused


def test_rule_2_does_not_hold_where_edges_are_narrowed_too() -> None:
    found = types(four(CHAIN), NarrowActivations(4, edges=True))
    assert {name for name in found if found[name] == "uint8"} == {"y"}


def test_rule_2_holds_for_all_that_share_params_with_an_edge() -> None:
    found = types(
        four(
            """a = Conv(x, u)
            b = Conv(a, v)
            p = MaxPool<kernel_shape = [1, 1]>(b)
            c = Conv(b, w)
            d = Conv(p, z)
            y = Add(c, d)"""
        )
    )
    assert (found["b"], found["p"]) == ("uint8", "uint8")


@pytest.mark.parametrize("bits", [2, 3, 5, 7])
def test_other_numbers_of_bits(bits: int) -> None:
    assert types(four(CHAIN), NarrowActivations(bits))["a"] == f"uint{bits}"


def test_eight_bits_change_nothing() -> None:
    before, after = plans(four(CHAIN), NarrowActivations(8))
    assert after is before


def test_only_types_change() -> None:
    before, after = plans(four(CHAIN), NarrowActivations(4))
    assert after.values["a"].params is None
    assert after.values["a"].spec.granularity == before.values["a"].spec.granularity
    assert (after.groups, after.uses, after.float_nodes) == (
        before.groups,
        before.uses,
        before.float_nodes,
    )
    assert all(after.values[name] is before.values[name] for name in "uvwz")


def test_a_target_without_such_a_type_says_what_it_has() -> None:
    source = four(CHAIN)
    target = replace(eager_target(), activation_bits=(8,))
    context = hand_context(source, target=target)
    plan = revised(AssignIntegers(), context, QuantPlan())
    with pytest.raises(TargetError, match="cpu has no activations of 4 bits; give one of 8"):
        NarrowActivations(4).revise(context, plan)
