from __future__ import annotations

import numpy as np
import pytest

from onnxq.plan.bit_plans import with_bits
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, QParams, QuantSpec
from onnxq.plan.weight_sites import WeightSite, bit_operations, weight_sites
from tests.passes.rewrite.building import build, rng_weight

_TEXT = """f (float[1,8,6,6] x, float[16,8,3,3] w, float[16,16,3,3] v, float[4,16,1,1] s)
    => (float[1,16,2,2] y) {
    a = Conv(x, w)
    b = Conv(a, v)
    c = Conv(b, s)
    d = Conv(b, s)
    e = Concat<axis = 1>(c, d)
    y = Identity(b) }"""
MODEL = build(
    _TEXT, w=rng_weight(16, 8, 3, 3), v=rng_weight(16, 16, 3, 3, seed=1),
    s=rng_weight(4, 16, 1, 1, seed=2),
)  # fmt: skip
ACTIVATION = ValuePlan(QuantSpec(IntType(8, signed=False), symmetric=False))
WEIGHT = ValuePlan(
    QuantSpec(IntType(8, signed=True), True, PerAxis(0)),
    QParams(np.ones(16, np.float32), np.zeros(16, np.int32)),
)
SEEN = {"node_a", "node_b", "node_c", "node_d"}


def plan_of(*integer: str) -> QuantPlan:
    layers = {"node_a": "w", "node_b": "v", "node_c": "s", "node_d": "s"}
    inputs = {"node_a": "x", "node_b": "a", "node_c": "b", "node_d": "b"}
    values = {layers[name]: WEIGHT for name in integer}
    values |= {inputs[name]: ACTIVATION for name in integer}
    stay = {name: "because" for name in layers if name not in integer}
    return QuantPlan(values=values, float_nodes=stay)


def names(sites: list[WeightSite]) -> list[str]:
    return [site.name for site in sites]


def test_layers_that_share_a_weight_are_one_site() -> None:
    sites = weight_sites(MODEL, plan_of("node_a", "node_c", "node_d"), SEEN)

    # a weight of float layers is one too if it is large enough: s, of 64 numbers, is not
    assert names(sites) == ["w", "v", "s"]
    assert [len(site.nodes) for site in sites] == [1, 1, 2]
    assert not sites[1].integer
    assert names(weight_sites(MODEL, plan_of("node_a"), SEEN)) == ["w", "v"]


def test_what_the_loss_does_not_see_is_left_alone() -> None:
    assert names(weight_sites(MODEL, plan_of("node_a"), {"node_a"})) == ["w"]


def test_what_shall_stay_float_does() -> None:
    assert names(weight_sites(MODEL, plan_of("node_a"), SEEN, ["node_[b]"])) == ["w"]


def test_three_bits_are_stored_in_four() -> None:
    site = weight_sites(MODEL, plan_of("node_a"), SEEN)[0]

    sizes = [site.stored_bytes(bits, 21) for bits in (2, 3, 4, 8, 32)]
    assert sizes == [576, 576, 576, 1152, 4608]
    assert site.stored_bytes(2, 25) == 288


def test_operations_count_the_bits_of_both_factors() -> None:
    nodes = {str(node.name): node for node in MODEL.graph}
    plan, shapes = plan_of("node_a"), {"a": (1, 16, 4, 4)}
    work = 16 * 16 * 8 * 9

    def found(bits: int, *, on_integers: bool = True) -> float:
        return bit_operations(nodes["node_a"], bits, plan, shapes, on_integers=on_integers)

    assert found(3) == work * 3 * 8
    assert found(32) == work * 32 * 32
    assert found(4, on_integers=False) == work * 32 * 32


def test_a_plan_gets_other_bits() -> None:
    plan = plan_of("node_a", "node_c", "node_d")
    sites = weight_sites(MODEL, plan, SEEN)

    found = with_bits(plan, sites, {"w": 3, "v": 4, "s": 2})
    back = with_bits(found, sites, {"w": 8, "v": 32, "s": 8})

    assert [found.values[n].spec.dtype.bits for n in "ws"] == [3, 2]
    assert found.values["w"].params is None
    stored = found.uses[Use("node_b", 1)]
    assert stored.spec.dtype.bits == 4
    assert stored.params is not None
    assert stored.params.scale.shape == (16,)
    assert "v" not in found.values
    assert not back.uses
    assert plan.values["w"].spec.dtype.bits == 8


@pytest.mark.parametrize("per_channel", [True, False])
def test_one_scale_per_weight_if_asked_for(per_channel: bool) -> None:
    plan = plan_of("node_a")
    sites = weight_sites(MODEL, plan, SEEN)

    found = with_bits(plan, sites, {"w": 8, "v": 4}, per_channel=per_channel)

    params = found.uses[Use("node_b", 1)].params
    assert params is not None
    assert params.scale.ndim == per_channel
