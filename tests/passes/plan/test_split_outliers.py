from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.lower.qdq import LowerToQdq
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.correct_bias import CorrectBias
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.fit_weights import FitWeights
from onnxq.passes.plan.split_outliers import SplitOutliers
from onnxq.plan.check import violations
from onnxq.plan.cost import KernelCost
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import PerAxis, PerTensor
from onnxq.runtime.compare import Reference
from tests.passes.lower.optimized import optimized_ops
from tests.passes.plan.planning import build, context_for, eager_target, revised
from tests.passes.rewrite.building import rng_weight
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.target import Target

C = 64
OUTLIERS = [3, 20, 41, 42]
FACTOR = np.ones(C, np.float32)
FACTOR[OUTLIERS] = 60


def convolution(body: str, *, extra: str = "", **weights: npt.ArrayLike) -> ir.Model:
    """Reads x with outlier channels; the columns of w are as small as these are large."""
    return build(
        f"""f (float[1,{C},8,8] x, float[16,{C},3,3] w, float[16] b{extra}) => (float[1,16,M,N] y)
            {{ {body} }}""",
        w=rng_weight(16, C, 3, 3) / FACTOR.reshape(1, C, 1, 1), b=rng_weight(16, seed=3), **weights,
    )  # fmt: skip


def product(
    body: str, *, shape: str = f"1,12,{C}", factor: npt.NDArray[np.float32] = FACTOR
) -> ir.Model:
    """Reads x with outlier channels; w's columns are divided by ``factor``."""
    return build(
        f"""f (float[{shape}] x, float[{C},24] w, float[24] b)
            => (float[{shape.replace(str(C), "24")}] y) {{ {body} }}""",
        w=rng_weight(C, 24) / factor.reshape(C, 1), b=rng_weight(24, seed=3),
    )  # fmt: skip


def context_of(source: ir.Model, factor: npt.NDArray[np.float32] = FACTOR) -> PlanContext:
    shape = tuple(source.graph.inputs[0].shape.numpy())  # type: ignore[union-attr]
    along = factor.reshape(-1, 1, 1) if len(shape) == 4 else factor
    feeds = []
    for seed in range(6):
        x = np.random.default_rng(seed).standard_normal(shape)
        feeds.append({"x": np.asarray(x * along, np.float32)})
    return context_for(source, target(), samples=feeds)


def target() -> Target:
    """Layers that multiply by weights are by far the dearest in float."""
    eager = eager_target()
    dear = dict.fromkeys(("dense", "matmul"), KernelCost(call_us=1e4))
    assert eager.costs is not None
    return replace(eager, costs=replace(eager.costs, real={**eager.costs.real, **dear}))


def plan_of(
    context: PlanContext, split: SplitOutliers | None, keep: tuple[str, ...] = ()
) -> QuantPlan:
    plan = revised(AssignIntegers(keep_float=keep), context, QuantPlan())
    plan = revised(FitActivations("minmax"), context, plan)
    plan = plan if split is None else revised(split, context, plan)
    plan = revised(FitWeights(), context, plan)
    assert violations(plan, context.model, context.target, context.shapes) == []
    return plan


def gain(context: PlanContext, plan: QuantPlan) -> float:
    """By how many dB the output is better than without clusters."""
    reference = Reference(context.model, context.samples(4))
    with_, without = (
        reference.sqnr(LowerToQdq(p)(context.model).model)["y"]
        for p in (plan, plan_of(context, None))
    )
    return with_ - without


CONV = "y = Conv(x, w, b)"
CASES = {
    "input": convolution(CONV),
    "hardswish": convolution("a = HardSwish(x) y = Conv(a, w, b)"),
    "silu": convolution("s = Sigmoid(x) a = Mul(x, s) y = Conv(a, w, b)"),
    "relu behind": convolution("c = Conv(x, w, b) y = Relu(c)"),
    "padded, strided": convolution("y = Conv<pads = [1,1,1,1], strides = [2,2]>(x, w, b)"),
    "matmul": product("y = MatMul(x, w)"),
    "matmul, bias": product("m = MatMul(x, w) y = Add(m, b)"),
    "gemm": product("y = Gemm(x, w, b)", shape=f"12,{C}"),
    "float in front": product("a = Tanh(x) c = Mul(a, x) y = MatMul(c, w)"),
}


@pytest.mark.parametrize("case", CASES)
def test_outliers_are_taken_out_and_the_output_gains(case: str) -> None:
    context = context_of(CASES[case])
    plan = plan_of(context, SplitOutliers())
    (split,) = plan.clusters.values()
    assert [part.channels.tolist() for part in split.parts] == [OUTLIERS]
    assert gain(context, plan) > 20


def test_large_columns_of_large_channels_gain_as_well() -> None:
    context = context_of(product("y = MatMul(x, w)", factor=np.ones(C, np.float32)))
    plan = plan_of(context, SplitOutliers(enough=40))
    assert plan.clusters
    assert gain(context, plan) > 10


def test_several_clusters_add_up() -> None:
    factor = FACTOR.copy()
    factor[[7, 8]] = 3000
    context = context_of(product("y = MatMul(x, w)", factor=factor), factor)
    two, three = (plan_of(context, SplitOutliers(clusters=n)) for n in (2, 3))
    assert [len(p.clusters["x"].parts) for p in (two, three)] == [1, 2]
    assert gain(context, three) > gain(context, two) + 10


def test_channels_that_a_layer_norm_enlarges_are_taken_out_of_a_batch_of_any_size() -> None:
    source = build(
        f"""f (float[N,12,{C}] x, float[{C}] g, float[{C}] h, float[{C},24] w, float[{C},24] v)
            => (float[N,12,24] y) {{
            a = LayerNormalization<axis = -1>(x, g, h)
            q = MatMul(a, w) k = MatMul(a, v) y = Add(q, k) }}""",
        g=FACTOR, h=rng_weight(C) / 4,
        w=rng_weight(C, 24) / FACTOR[:, None], v=rng_weight(C, 24, seed=1) / FACTOR[:, None],
    )  # fmt: skip
    shape = (2, 12, C)
    feeds = [
        {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}
        for seed in range(4)
    ]
    context = context_for(source, target(), samples=feeds)
    plan = plan_of(context, SplitOutliers())
    assert [part.channels.tolist() for part in plan.clusters["a"].parts] == [OUTLIERS]
    assert gain(context, plan) > 20


def test_two_readers_are_cut_alike() -> None:
    source = convolution(
        "p = Conv(x, w, b) q = Conv(x, v) y = Add(p, q)",
        extra=f", float[16,{C},3,3] v", v=rng_weight(16, C, 3, 3, seed=2) / FACTOR[:, None, None],
    )  # fmt: skip
    context = context_of(source)
    plan = plan_of(context, SplitOutliers())
    (part,) = plan.clusters["x"].parts
    assert set(part.weights) == set(plan.clusters["x"].sums) == {"node_p", "node_q"}
    assert gain(context, plan) > 15


def test_only_its_own_fields_change() -> None:
    context = context_of(CASES["relu behind"])
    plan = revised(
        FitActivations("minmax"), context, revised(AssignIntegers(), context, QuantPlan())
    )
    split = revised(SplitOutliers(), context, plan)
    assert {n for n in plan.values if plan.values[n] is not split.values[n]} == {"x", "y"}
    assert isinstance(split.values["y"].spec.granularity, PerTensor)
    assert (split.uses, split.groups, split.bias_shift) == (plan.uses, plan.groups, plan.bias_shift)
    assert split.values["x"].params.scale < plan.values["x"].params.scale / 20  # type: ignore[union-attr]


def test_what_writes_the_value_gives_up_its_integer_kernels() -> None:
    plan = plan_of(context_of(CASES["silu"]), SplitOutliers())
    assert {"node_s", "node_a"} <= set(plan.float_nodes)
    assert not {"x", "s"} & set(plan.values)


def test_biases_are_corrected_behind_the_sum() -> None:
    context = context_of(CASES["relu behind"])
    plan = plan_of(context, SplitOutliers())
    corrected = revised(CorrectBias(lambda m, p: LowerToQdq(p)(m).model), context, plan)
    assert gain(context, corrected) > 20


# ---- refusals: the numbers are the rules' --------------------------------------------------------


def refusals(source: ir.Model, **options: float) -> list[str]:
    context = context_of(source)
    plan = plan_of(context, SplitOutliers(**options))  # type: ignore[arg-type]
    assert not plan.clusters
    return [note.text for note in plan.notes if note.source == "split-outliers"]


def test_1_a_graph_output_stays_whole() -> None:
    source = build(
        f"""f (float[1,12,{C}] x, float[{C},24] w) => (float[1,12,{C}] a, float[1,12,24] y) {{
            a = LeakyRelu(x) y = MatMul(a, w) }}""",
        w=rng_weight(C, 24) / FACTOR[:, None],
    )  # fmt: skip
    assert refusals(source) == ["outlier channels stay: it is a graph output"]


def between(middle: str) -> ir.Model:
    """A convolution writes c with outlier channels, ``middle`` makes m of it, another reads m."""
    v = rng_weight(C, C, 1, 1) * FACTOR.reshape(C, 1, 1, 1) / FACTOR.reshape(1, C, 1, 1) / 8
    return convolution(
        f"c = Conv(x, v) {middle} y = Conv(m, w, b)", extra=f", float[{C},{C},1,1] v", v=v
    )


@pytest.mark.parametrize("middle", ["m = HardSwish(c)", "s = Sigmoid(c) m = Mul(c, s)"])
def test_a_convolution_in_front_writes_scales_per_channel(middle: str) -> None:
    context = context_of(between(middle))
    plan = plan_of(context, SplitOutliers())
    assert set(plan.clusters) == {"x", "m"}
    assert plan.values["c"].spec.granularity == PerAxis(1)
    assert gain(context, plan) > 20
    made = LowerToQdq(plan)(context.model).model
    assert optimized_ops(made)["QLinearConv"] == 4
    assert not {"Conv", "FusedConv"} & set(optimized_ops(made))
    for feed in context.samples(2):
        plain, fused = run(made, feed, "off")["y"], run(made, feed, "all")["y"]
        assert np.abs(plain - fused).max() <= 0.02 * np.abs(plain).max()


@pytest.mark.parametrize("middle", ["m = MaxPool<kernel_shape = [1,1]>(c)", "m = Clip(c, lo, hi)"])
def test_2_an_integer_kernel_cannot_write_two_scales(middle: str) -> None:
    v = rng_weight(C, C, 1, 1) * FACTOR.reshape(C, 1, 1, 1) / FACTOR.reshape(1, C, 1, 1) / 8
    source = convolution(
        f"c = Conv(x, v) {middle} y = Conv(m, w, b)",
        extra=f", float[{C},{C},1,1] v, float lo, float hi", v=v, lo=-500.0, hi=500.0,
    )  # fmt: skip
    plan = plan_of(context_of(source), SplitOutliers())
    assert "m" not in plan.clusters
    texts = [n.text for n in plan.notes if n.where == "m" and n.source == "split-outliers"]
    assert texts
    assert texts[0].startswith("outlier channels stay: ")


def test_2_what_others_read_as_codes_stays() -> None:
    source = convolution(
        "a = HardSwish(x) p = Conv(a, w, b) q = Conv(x, v) y = Add(p, q)",
        extra=f", float[16,{C},3,3] v", v=rng_weight(16, C, 3, 3, seed=2) / FACTOR[:, None, None],
    )  # fmt: skip
    context = context_of(source)
    plan = plan_of(context, SplitOutliers())
    texts = [n.text for n in plan.notes if n.where == "a" and n.source == "split-outliers"]
    assert texts == ["outlier channels stay: others read the codes of 'x'"]


def test_3_other_readers_see_all_channels_on_one_scale() -> None:
    source = convolution(
        "p = Conv(x, w, b) g = GlobalAveragePool(x) q = Conv(g, v) y = Add(p, q)",
        extra=f", float[16,{C},1,1] v", v=rng_weight(16, C, 1, 1),
    )  # fmt: skip
    assert "outlier channels stay: not only layers that add up over its channels read it" in (
        refusals(source)
    )


def test_3_depthwise_convolutions_have_nothing_to_add_up() -> None:
    source = build(
        f"f (float[1,{C},8,8] x, float[{C},1,3,3] w) => (float[1,{C},6,6] y)"
        f"{{ y = Conv<group = {C}>(x, w) }}",
        w=rng_weight(C, 1, 3, 3),
    )  # fmt: skip
    assert refusals(source) == []


def test_3_a_shared_weight_is_not_cut() -> None:
    source = convolution("p = Conv(x, w, b) a = Tanh(p) q = Conv(x, w) y = Add(a, q)")
    assert refusals(source) == ["outlier channels stay: the weight of 'node_p' has other readers"]


@pytest.mark.parametrize("options", [{"enough": 1.0}, {"least_gain": 60.0}])
def test_4_little_need_or_gain_is_no_reason(options: dict[str, float]) -> None:
    assert refusals(CASES["matmul"], **options) == []


def test_4_even_channels_are_left_alone() -> None:
    context = context_of(CASES["input"], np.ones(C, np.float32))
    plan = plan_of(context, SplitOutliers())
    assert not plan.clusters
    assert not [note for note in plan.notes if note.source == "split-outliers"]


def test_5_what_costs_more_than_a_float_layer_is_left() -> None:
    context = context_of(CASES["input"])
    known = target().costs
    assert known is not None
    costs = replace(known, integer={"Add": KernelCost(call_us=2e4)})
    context = replace(context, target=replace(context.target, costs=costs))
    plan = revised(
        FitActivations("minmax"), context, revised(AssignIntegers(), context, QuantPlan())
    )
    split = revised(SplitOutliers(), context, plan)
    assert not split.clusters
    assert any("its readers in float" in note.text for note in split.notes)
