"""The quantized model with its params apart: the same function, names that stay."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.lower import lowered, simulated
from tests.passes.plan.planning import samples_for
from tests.search.networks import NETWORKS, activations, first_plan, scaled
from tests.support import run


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_model_is_the_one_that_is_written(name: str) -> None:
    model = NETWORKS[name]()
    plan = first_plan(model)
    feed = samples_for(model, 1)[0]

    found = run(simulated(model, plan).model, feed, "all")["y"]

    np.testing.assert_array_equal(found, run(lowered(model, plan), feed, "all")["y"])


def test_params_are_constants_of_these_names() -> None:
    model = NETWORKS["branches"]()
    simulation = simulated(model, first_plan(model))
    constants = simulation.model.graph.initializers

    for name, array in simulation.params.items():
        tensor = constants[name].const_value
        assert tensor is not None
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_other_ranges_have_the_same_names_and_change_what_follows_from_them() -> None:
    model = NETWORKS["branches"]()
    plan = first_plan(model)
    before = simulated(model, plan).params

    after = simulated(model, scaled(plan, 0.5, "r0")).params

    assert after.keys() == before.keys()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {
        "r0_quantized_QuantizeLinear/scale",
        "b1_dequantized_DequantizeLinear/codes",
        "b1_dequantized_DequantizeLinear/scale",
    }


def test_equal_numbers_of_different_values_stay_apart() -> None:
    model = NETWORKS["branches"]()
    names = simulated(model, first_plan(model)).params

    zeros = [f"{value}_quantized_QuantizeLinear/zero_point" for value in ("r0", "s2")]

    assert set(zeros) <= set(names)


def test_both_sides_of_a_value_share_its_params() -> None:
    model = NETWORKS["clipped"]()
    plan = first_plan(model)
    names = simulated(model, plan).params

    for value in activations(model, plan):
        assert f"{value}_dequantized_DequantizeLinear/scale" not in names


def test_bounds_of_a_hard_swish_on_codes_are_params() -> None:
    names = simulated(NETWORKS["branches"](), first_plan(NETWORKS["branches"]())).params

    assert "c3_quantized_gate_Clip/low" in names
