from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.manager import PassManager
from onnxq.passbase import PlanContext
from onnxq.passes.lower.weight_only import LowerWeightsOnly
from onnxq.passes.plan.correct_bias_analytic import CorrectBiasAnalytic
from onnxq.passes.rewrite import float_rewrites
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerTensor, QParams, QuantSpec
from tests.passes.plan.planning import build, eager_target, revised
from tests.passes.rewrite.building import rng_weight
from tests.passes.rewrite.measured_norms import network
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.prior import Prior

MEANS = np.array([1.0, -2.0, 0.5, 3.0], np.float32)
DEVIATIONS = np.full(4, 0.5, np.float32)


def coarse(weight: npt.NDArray[np.float32]) -> ValuePlan:
    """4 bits, one scale for all of the weight."""
    scale = np.asarray(np.abs(weight).max() / 7, np.float32)
    spec = QuantSpec(IntType.parse("int4"), symmetric=True, granularity=PerTensor())
    return ValuePlan(spec, QParams(scale, np.asarray(0, np.int32)))


def rounded(weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    step = np.abs(weight).max() / 7
    return np.asarray(np.rint(weight / step) * step, np.float32)


def context_of(source: ir.Model, prior: Prior | None = None) -> PlanContext:
    told = {"x": (MEANS, DEVIATIONS)} if prior is None else prior
    return PlanContext(source, eager_target(), None, {}, lambda _count: [], prior=told)


def convolution(weight: npt.NDArray[np.float32], attributes: str = "") -> ir.Model:
    dims = ",".join(map(str, weight.shape))
    head = f"float[2,4,5,5] x, float[{dims}] w"
    return build(f"f ({head}) => (float[A,B,C,D] y) {{ y = Conv{attributes}(x, w) }}", w=weight)


def corrected(source: ir.Model, plan: QuantPlan, prior: Prior | None = None) -> QuantPlan:
    context = context_of(source, prior)
    once = revised(CorrectBiasAnalytic(), context, plan)
    again = revised(CorrectBiasAnalytic(), context, once)
    for name, shift in once.bias_shift.items():
        np.testing.assert_array_equal(again.bias_shift[name], shift)
    for name in ("values", "uses", "groups", "float_nodes", "kept_float"):
        assert getattr(once, name) == getattr(plan, name)
    return once


def reasons(plan: QuantPlan) -> list[tuple[str, str]]:
    return [(n.where, n.text) for n in plan.notes if n.kind is NoteKind.REFUSED]


def test_the_shift_takes_away_what_rounding_adds() -> None:
    weight = rng_weight(3, 4, 1, 1)
    source = convolution(weight)
    plan = corrected(source, QuantPlan({"w": coarse(weight)}))
    wanted = -(rounded(weight) - weight)[:, :, 0, 0] @ MEANS
    np.testing.assert_allclose(plan.bias_shift["node_y"], wanted, atol=1e-5)
    assert plan.bias_shift["node_y"].dtype == np.float32
    assert not reasons(plan)


def test_at_the_border_of_a_padded_convolution_fewer_taps_count() -> None:
    weight = rng_weight(3, 4, 3, 3)
    source = convolution(weight, "<pads = [1,1,1,1]>")
    plan = corrected(source, QuantPlan({"w": coarse(weight)}))
    x = np.broadcast_to(MEANS[:, None, None], (2, 4, 5, 5)).astype(np.float32)
    lowered = LowerWeightsOnly(plan)(source).model
    error = run(lowered, {"x": x})["y"] - run(source, {"x": x})["y"]
    np.testing.assert_allclose(error.mean((0, 2, 3)), 0, atol=1e-5)
    assert np.abs(error).max() > 0.1


@pytest.mark.parametrize(
    "body",
    ["y = Gemm<alpha = 0.5>(x, w)", "y = MatMul(x, w)", "h = MatMul(x, w) y = Add(h, b)"],
)
def test_products_of_constant_inputs_become_exact(body: str) -> None:
    weight, bias = rng_weight(4, 3), rng_weight(3, seed=1)
    more = {"b": bias} if "b)" in body else {}
    head = "float[2,4] x, float[4,3] w" + (", float[3] b" if more else "")
    source = build(f"f ({head}) => (float[A,B] y) {{ {body} }}", w=weight, **more)
    plan = corrected(source, QuantPlan({"w": coarse(weight)}))
    x = np.stack([MEANS, MEANS])
    lowered = LowerWeightsOnly(plan)(source).model
    np.testing.assert_allclose(run(lowered, {"x": x})["y"], run(source, {"x": x})["y"], atol=1e-5)


def test_an_older_shift_is_replaced_and_others_stay() -> None:
    weight = rng_weight(3, 4, 1, 1)
    source = convolution(weight)
    old = {"node_y": np.full(3, 9.0, np.float32), "other": np.ones(1, np.float32)}
    plan = corrected(source, QuantPlan({"w": coarse(weight)}, bias_shift=old))
    assert np.abs(plan.bias_shift["node_y"]).max() < 9
    assert plan.bias_shift["other"] is not None


def test_float_weights_need_no_shift() -> None:
    weight = rng_weight(3, 4, 1, 1)
    source = convolution(weight)
    plan = corrected(source, QuantPlan())
    assert not plan.bias_shift
    assert not plan.notes


def test_without_batchnorm_it_says_that_nothing_is_known() -> None:
    weight = rng_weight(3, 4, 1, 1)
    source = convolution(weight)
    plan = corrected(source, QuantPlan({"w": coarse(weight)}), {})
    assert not plan.bias_shift
    assert reasons(plan)[0] == (
        "graph",
        "nothing is known of means without BatchNormalization in the model",
    )


@pytest.mark.parametrize(
    ("body", "shape", "reason"),
    [
        ("s = Softmax(x) y = MatMul(s, w)", "2,4", "the mean of what it reads is not known"),
        ("y = MatMul(x, w)", "2,4,4", "a MatMul is corrected at rank 2 alone"),
        ("y = Gemm<transA = 1>(x, w)", "4,2", "Gemm transposes its input"),
    ],
)
def test_layers_that_get_none(body: str, shape: str, reason: str) -> None:
    weight = rng_weight(4, 3)
    dims = "A,B,C" if shape.count(",") == 2 else "A,B"
    source = build(
        f"f (float[{shape}] x, float[4,3] w) => (float[{dims}] y) {{ {body} }}", w=weight
    )
    plan = corrected(source, QuantPlan({"w": coarse(weight)}))
    assert not plan.bias_shift
    assert reasons(plan)[:1] == [("node_y", reason)]


def test_a_layer_in_float_without_a_bias_of_its_own_gets_none() -> None:
    weight = rng_weight(4, 3)
    source = build(
        "f (float[2,4] x, float[4,3] w) => (float[A,B] y) { y = MatMul(x, w) }", w=weight
    )
    uses = {Use("node_y", 1): coarse(weight)}
    plan = corrected(source, QuantPlan(uses=uses, float_nodes={"node_y": "because"}))
    assert not plan.bias_shift
    assert reasons(plan)[:1] == [("node_y", "it has no bias of its own")]


def test_a_matmul_on_integers_gets_none() -> None:
    weight = rng_weight(4, 3)
    source = build(
        "f (float[2,4] x, float[4,3] w) => (float[A,B] y) { y = MatMul(x, w) }", w=weight
    )
    uses = {Use("node_y", 0): coarse(weight)}
    plan = corrected(source, QuantPlan({"w": coarse(weight)}, uses))
    assert reasons(plan)[:1] == [("node_y", "a MatMul on integers has no bias")]


@pytest.mark.parametrize("seed", range(3))
def test_a_network_with_batchnorm_comes_closer_to_its_float_form(seed: int) -> None:
    source, x = network(["plain", "wide", "residual", "depthwise", "siblings", "plain"], seed)
    prior: Prior = {}
    source = PassManager().rewrite(source, float_rewrites(prior), to_fixpoint=True, prior=prior)
    weights = {
        str(node.inputs[1].name): node.inputs[1].const_value.numpy()  # type: ignore[union-attr]
        for node in source.graph
        if node.op_type == "Conv"
    }
    plan = QuantPlan({name: coarse(weight) for name, weight in weights.items()})
    better = corrected(source, plan, prior)
    assert len(better.bias_shift) == len(weights) - 1
    wanted = run(source, {"x": x})["y"]
    errors = [
        float(((run(LowerWeightsOnly(p)(source).model, {"x": x})["y"] - wanted) ** 2).mean())
        for p in (plan, better)
    ]
    assert errors[1] < 0.8 * errors[0]
