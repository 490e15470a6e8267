from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.graph.edit import set_weight
from onnxq.graph.query import heavy, weight_of
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.runtime.session import make_session
from onnxq.search.coded_layer import CodedLayer, coded_layer
from onnxq.search.layer_moments import layer_moments
from onnxq.search.weight_changes import nearest_changes, rounded_changes
from tests.passes.plan.planning import build, context_for, plan_for
from tests.passes.rewrite.building import rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan

_TEXT = """f (float[1,4,8,8] x, float[8,4,3,3] w, float[8] b, float[8,1,3,3] d, float[3,8] g)
    => (float[1,3] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu(c)
    e = Conv <group = 8, strides = [2, 2]> (r, d)
    p = GlobalAveragePool(e)
    f = Flatten(p)
    y = Gemm<transB = 1>(f, g) }"""
_SHAPE = (1, 4, 8, 8)


def uneven_weight() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Its channels have sizes so different that the next layer takes scales over."""
    weight = rng_weight(8, 4, 3, 3)
    sizes = np.geomspace(0.02, 4, 8).reshape(8, 1, 1, 1)
    return np.asarray(weight * sizes, np.float32)


@cache
def made() -> tuple[PlanContext, dict[int, QuantPlan]]:
    model = build(
        _TEXT, w=uneven_weight(), b=rng_weight(8), d=rng_weight(8, 1, 3, 3, seed=1),
        g=rng_weight(3, 8, seed=2),
    )  # fmt: skip
    mix = np.random.default_rng(9).normal(size=(4, 4)) + 1
    samples = [
        {"x": np.einsum("ij,bj...->bi...", mix, rng.normal(size=_SHAPE) + 0.5).astype(np.float32)}
        for rng in map(np.random.default_rng, range(32))
    ]
    context = context_for(model, samples=samples)
    plans = {b: plan_for(context, AssignIntegers(weight_bits=b), method="mse") for b in (2, 4)}
    return context, plans


def layers(model: ir.Model) -> dict[str, ir.Node]:
    return {str(n.inputs[1].name): n for n in model.graph if heavy(n)}  # type: ignore[union-attr]


def by_outputs(
    context: PlanContext, layers: dict[str, ir.Node], plans: dict[int, QuantPlan]
) -> dict[str, dict[int, dict[str, npt.NDArray[Any]]]]:
    return rounded_changes(context.model, layers, plans, list(context.samples(32)), "gptq+cd")


def error(changes: dict[str, npt.NDArray[Any]]) -> float:
    """Squared error of the first layer's output, of the float inputs."""
    context, _ = made()
    changed = context.model.clone()
    for name, change in changes.items():
        value = changed.graph.initializers[name]
        set_weight(value, np.asarray(weight_of(value)) + change)
    sessions = [make_session(m, outputs=["c"]) for m in (context.model, changed)]
    pairs = ([s.run(feed)["c"] for s in sessions] for feed in context.samples(32))
    return float(np.mean([((a - b) ** 2).mean() for a, b in pairs]))


def test_rounding_by_outputs_changes_less_at_the_outputs() -> None:
    context, plans = made()
    nearest = nearest_changes(layers(context.model), plans)
    better = by_outputs(context, layers(context.model), plans)

    assert set(nearest) == set(better) == {"w", "d", "g"}
    for bits in plans:
        assert set(better["w"][bits]) == {"w", "b"}
        assert error(better["w"][bits]) < 0.7 * error(nearest["w"][bits])
    assert np.abs(better["w"][4]["w"]).mean() < np.abs(better["w"][2]["w"]).mean()


def test_the_bias_makes_up_for_the_means() -> None:
    context, plans = made()
    change = by_outputs(context, layers(context.model), plans)["w"][2]

    assert error(change) < error({"w": change["w"]})


def test_changes_are_in_the_units_of_the_weight() -> None:
    """Behind channels with scales of their own, codes are those of a weight times factors."""
    context, plans = made()
    x = plans[4].values["r"]
    assert x.spec.axis is not None, "the test needs such a value"
    weight = np.asarray(weight_of(context.model.graph.initializers["d"]))

    for found in (
        nearest_changes(layers(context.model), plans),
        by_outputs(context, layers(context.model), plans),
    ):
        worst = np.abs(found["d"][4]["d"]).max(axis=(1, 2, 3))
        assert (worst < 0.2 * np.abs(weight).max(axis=(1, 2, 3))).all()


def test_weights_of_float_layers_change_by_their_own_codes() -> None:
    context, plans = made()
    plan = plans[4]
    stored = replace(
        plan,
        values={name: value for name, value in plan.values.items() if name != "w"},
        uses={("node_c", 1): plan.values["w"]},  # type: ignore[dict-item]
        float_nodes={"node_c": "because"},
    )
    only = {"w": layers(context.model)["w"]}

    nearest, better = nearest_changes(only, {4: stored}), by_outputs(context, only, {4: stored})
    assert set(nearest) == set(better) == {"w"}
    assert set(better["w"][4]) == {"w", "b"}
    assert error(better["w"][4]) < 0.7 * error(nearest["w"][4])


def test_a_codebook_changes_less() -> None:
    context, plans = made()
    arguments = context.model, layers(context.model), plans, list(context.samples(32)), "gptq+cd"
    even = rounded_changes(*arguments)
    chosen = rounded_changes(*arguments, codebook=lambda spec: spec.dtype.bits == 2)

    assert error(chosen["w"][2]) < 0.9 * error(even["w"][2])
    np.testing.assert_array_equal(chosen["w"][4]["w"], even["w"][4]["w"])


@pytest.mark.parametrize("factor", [1.0, np.full((1, 1, 36), 0.5, np.float32)])
def test_moments_of_inputs_times_a_factor(factor: float) -> None:
    context, plans = made()
    layer = coded_layer(layers(context.model)["w"], plans[4])
    assert isinstance(layer, CodedLayer)
    inputs = [feed["x"] for feed in context.samples(4)]

    plain = layer_moments(layer, inputs, inputs, 0)
    found = layer_moments(layer, inputs, inputs, 0, factor)

    share = float(np.mean(factor))
    assert found.means[0] == pytest.approx(plain.means[0] * share, rel=1e-4)
    assert found.matrices(centred=True)[0] == pytest.approx(
        plain.matrices(centred=True)[0] * share**2, rel=1e-3
    )
