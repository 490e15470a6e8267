from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.passes.plan.fit_activations import FitActivations
from onnxq.passes.plan.share_params import ShareParams
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan
from tests.passes.plan.planning import hand_context, revised, stats_of
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.passbase import PlanContext

Ranges = dict[str, tuple[float, float]]


def joined(nodes: str, outputs: str = "", channels: int = 8) -> ir.Model:
    """Two convolutions write a and b, ``nodes`` make k of them, a convolution reads k."""
    return build(
        f"""f (float[1,4,8,8] x, float[4,4,1,1] w, float[4,4,1,1] u, float lo, float hi,
              float[3,{channels},1,1] v, float[2,4,1,1] t)
            => (float[1,3,M,N] y{outputs}) {{
            a = Conv(x, w)
            b = Conv(x, u)
            {nodes}
            y = Conv(k, v) }}""",
        w=rng_weight(4, 4, 1, 1),
        u=rng_weight(4, 4, 1, 1, seed=1),
        v=rng_weight(3, channels, 1, 1, seed=2),
        t=rng_weight(2, 4, 1, 1, seed=3),
        lo=0.0,
        hi=6.0,
    )


PLAIN = "k = Concat<axis=1>(a, b)"
EQUAL: Ranges = {"a": (-1, 1), "b": (-1, 1), "k": (-1, 1)}


def decided(source: ir.Model, ranges: Ranges, **options: object) -> tuple[PlanContext, QuantPlan]:
    """The plan of specs, and a context with a value of each bound in its statistics."""
    stats = {name: stats_of(np.array(bounds)) for name, bounds in ranges.items()}
    context = hand_context(source, stats)
    assign = AssignIntegers(**options)  # type: ignore[arg-type]
    return context, revised(assign, context, QuantPlan())


def shared(source: ir.Model, ranges: Ranges, **options: object) -> tuple[list[set[str]], list[str]]:
    """The groups of several values, and why Concats were refused."""
    context, before = decided(source, ranges, **options)
    after = revised(ShareParams(), context, before)
    assert dict(after.values) == dict(before.values)
    assert after.float_nodes == before.float_nodes
    notes = after.notes[len(before.notes) :]
    refused = [note.text for note in notes if note.kind is NoteKind.REFUSED]
    return [set(group) for group in after.groups if len(group) > 1], refused


def test_a_concat_shares_the_params_of_all_it_touches() -> None:
    context, before = decided(joined(PLAIN), EQUAL)
    after = revised(ShareParams(), context, before)
    assert after.groups == (frozenset({"a", "b", "k"}),)
    note = Note(NoteKind.FIRED, "share-params", "node_k", "3 values share params")
    assert after.notes == (*before.notes, note)


def test_chained_concats_become_one_group() -> None:
    nodes = "j = Concat<axis=1>(a, b) k = Concat<axis=1>(j, a)"
    ranges: Ranges = {**EQUAL, "j": (-1, 1)}
    assert shared(joined(nodes, channels=12), ranges)[0] == [{"a", "b", "j", "k"}]


def test_the_group_of_a_pool_is_taken_in() -> None:
    nodes = "p = MaxPool<kernel_shape=[1,1]>(a) k = Concat<axis=1>(p, b)"
    ranges: Ranges = {**EQUAL, "p": (-1, 1)}
    assert shared(joined(nodes), ranges)[0] == [{"a", "b", "p", "k"}]


def test_without_concats_nothing_happens() -> None:
    source = joined("k = Add(a, b)", channels=4)
    context, before = decided(source, EQUAL)
    after = revised(ShareParams(), context, before)
    assert (after.groups, after.notes) == (before.groups, before.notes)


# ---- rule 1 --------------------------------------------------------------------------------------


def test_rule_1_a_float_concat_is_no_matter() -> None:
    assert shared(joined(PLAIN), EQUAL, keep_float=("node_k",)) == ([], [])


def test_rule_1_a_float_input() -> None:
    context, before = decided(joined(PLAIN), EQUAL)
    after = revised(ShareParams(), context, before.without(["b"]))
    assert after.groups == before.groups
    assert after.notes[-1].text == "'b' is not quantized with one scale"


def test_rule_1_a_scale_per_channel() -> None:
    source = joined(PLAIN)
    context, before = decided(source, EQUAL)
    per_channel = before.values["w"]
    after = revised(ShareParams(), context, before.with_values({"a": per_channel}))
    assert after.notes[-1].text == "'a' is not quantized with one scale"


def test_a_value_without_statistics() -> None:
    ranges = {name: bounds for name, bounds in EQUAL.items() if name != "b"}
    assert shared(joined(PLAIN), ranges) == ([], ["'b' has no statistics"])


# ---- rule 2 --------------------------------------------------------------------------------------

ALSO_READ = "k = Concat<axis=1>(a, b)\n z = Conv(b, t)"


@pytest.mark.parametrize(
    ("b", "joins"), [((-0.5, 0.5), True), ((-0.49, 0.49), False)], ids=["half", "less"]
)
def test_rule_2_an_input_that_is_read_elsewhere_keeps_half_its_codes(
    b: tuple[float, float], joins: bool
) -> None:
    source = joined(ALSO_READ, ", float[1,2,M,N] z")
    groups, refused = shared(source, {"a": (-1, 1), "b": b, "k": (-1, 1)})
    assert groups == ([{"a", "b", "k"}] if joins else [])
    assert refused == ([] if joins else ["'b' would keep less than half of its codes"])


def test_rule_2_zero_belongs_to_every_range() -> None:
    ranges: Ranges = {"a": (0, 10), "b": (9, 10), "k": (0, 10)}
    source = joined(ALSO_READ, ", float[1,2,M,N] z")
    assert shared(source, ranges)[0] == [{"a", "b", "k"}]


def test_rule_2_an_input_that_only_concats_read_may_be_narrow() -> None:
    ranges: Ranges = {"a": (-1, 1), "b": (-0.01, 0.01), "k": (-1, 1)}
    assert shared(joined(PLAIN), ranges)[0] == [{"a", "b", "k"}]


def test_rule_2_counts_for_the_whole_chain() -> None:
    nodes = """j = Concat<axis=1>(a, b)
               z = Conv(b, t)
               c = Conv(x, u)
               k = Concat<axis=1>(j, c)"""
    source = joined(nodes, ", float[1,2,M,N] z", channels=12)
    ranges: Ranges = {**EQUAL, "j": (-1, 1), "c": (-9, 9), "k": (-9, 9)}
    groups, refused = shared(source, ranges)
    assert groups == [{"a", "b", "j"}]
    assert refused == ["'b' would keep less than half of its codes"]


# ---- rule 3 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("absorbed", "bounds"),
    [("Relu(a)", "0 … inf"), ("Clip(a, lo, hi)", "0 … 6")],
    ids=["relu", "clip"],
)
@pytest.mark.parametrize("low", [0.0, -0.1], ids=["positive", "negative"])
def test_rule_3_what_absorbs_keeps_its_zero_at_the_least_code(
    absorbed: str, bounds: str, low: float
) -> None:
    source = joined(f"r = {absorbed}\n k = Concat<axis=1>(r, b)")
    groups, refused = shared(source, {"r": (0, 1), "b": (low, 1), "k": (low, 1)})
    assert groups == ([] if low < 0 else [{"r", "b", "k"}])
    assert refused == ([f"'r' is bounded to {bounds}"] if low < 0 else [])


@pytest.mark.parametrize(("high", "joins"), [(6.0, True), (6.1, False)])
def test_rule_3_what_absorbs_keeps_its_upper_bound(high: float, joins: bool) -> None:
    source = joined("r = Clip(a, lo, hi)\n s = Relu(b)\n k = Concat<axis=1>(r, s)")
    groups, refused = shared(source, {"r": (0, 6), "s": (0, high), "k": (0, high)})
    assert groups == ([{"r", "s", "k"}] if joins else [])
    assert refused == ([] if joins else ["'r' is bounded to 0 … 6"])


def test_a_bounded_input_does_not_bound_the_others() -> None:
    """Clip stops at 6, its neighbour in the Concat does not: with shared params both would."""
    nodes = "r = Clip(a, lo, hi)\n s = Relu(b)\n k = Concat<axis=1>(r, s)"
    source = joined(nodes)
    context, plan = decided(source, {"r": (0, 6), "s": (0, 20), "k": (0, 20)})
    plan = revised(ShareParams(), context, plan)
    plan = revised(FitActivations("minmax"), context, plan)
    params = plan.values["s"].params
    assert params is not None
    assert 255 * float(params.scale) == pytest.approx(20, rel=0.01)


def test_a_narrow_graph_output_keeps_its_codes() -> None:
    source = joined(PLAIN, ", float[1,4,M,N] b")
    groups, _ = shared(source, {"a": (-1, 1), "b": (-0.01, 0.01), "k": (-1, 1)})
    assert groups == []
