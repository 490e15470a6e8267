from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.passes.plan.assign_half import AssignHalf
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QuantSpec
from tests.passes.plan.planning import context_for, revised
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

CHAIN = """f (float[1,4] x, float[4,4] w, float k) => (float[1,4] y) {
    a = MatMul(x, w)
    b = Mul(a, k)
    c = Relu(b)
    y = Softmax(c) }"""


def chain(gain: float = 1.0, **weights: npt.ArrayLike) -> ir.Model:
    given: dict[str, npt.ArrayLike] = {"w": rng_weight(4, 4), "k": np.float32(gain)}
    return build(CHAIN, **{**given, **weights})


def half_of(
    model: ir.Model, plan: QuantPlan | None = None, keep: tuple[str, ...] = ()
) -> QuantPlan:
    return revised(AssignHalf(keep), context_for(model), plan or QuantPlan())


def test_all_that_fits_computes_in_half_precision() -> None:
    plan = half_of(chain())
    assert plan.half == {"node_a", "node_b", "node_c", "node_y"}
    assert plan.float_nodes == {}


def test_3_what_reaches_too_far_stays_float_on_both_sides_of_the_value() -> None:
    plan = half_of(chain(gain=3e4))
    assert plan.half == {"node_a", "node_y"} or plan.half == {"node_a"}
    assert "'b' reaches" in plan.float_nodes["node_b"]
    assert "half precision ends at 65504" in plan.float_nodes["node_c"]
    refused = [n.where for n in plan.notes if n.kind is NoteKind.REFUSED]
    assert {"node_b", "node_c"} <= set(refused)


def test_3_half_of_the_range_is_room_for_other_samples() -> None:
    most = float(context_for(chain()).stats["b"].maximum)  # type: ignore[index]
    low = float(context_for(chain()).stats["b"].minimum)  # type: ignore[index]
    reach = max(most, -low)
    assert "node_b" in half_of(chain(gain=0.49 * 65504 / reach)).half
    assert "node_b" not in half_of(chain(gain=0.51 * 65504 / reach)).half


def test_4_constants_that_half_precision_cannot_hold_stay_float() -> None:
    assert "loses too much" in half_of(chain(gain=1e-8)).float_nodes["node_b"]
    huge = half_of(chain(w=np.full((4, 4), 1e5, np.float32)))
    assert "loses too much" in huge.float_nodes["node_a"]
    small = np.full((4, 4), 1e-5, np.float32)
    assert "node_a" in half_of(chain(w=small)).half  # subnormal, and exact to 2⁻⁸


def test_5_what_the_user_names_stays_float() -> None:
    plan = half_of(chain(), keep=("node_b",))
    assert plan.half == {"node_a", "node_c", "node_y"}
    assert plan.float_nodes == {"node_b": "asked for by --keep-float"}


def test_2_what_names_its_own_type_stays_as_it_is() -> None:
    model = build(
        "f (float[4] x) => (float[4] y) { a = Cast<to=7>(x)\n b = Cast<to=1>(a)\n y = Relu(b) }"
    )
    plan = half_of(model)
    assert plan.half == {"node_y"}
    assert plan.float_nodes == {"node_b": "Cast has no half precision"}


def test_without_data_only_constants_are_judged() -> None:
    model = chain(gain=3e4)
    context = replace(context_for(model), stats=None)
    plan = revised(AssignHalf(), context, QuantPlan())
    assert plan.half == {"node_a", "node_b", "node_c", "node_y"}


def test_1_and_6_nodes_on_integers_and_small_parts_between_them_are_left_alone() -> None:
    model = build(
        """f (float[1,4] x, float[4,4] w, float[4,4] v) => (float[1,4] y) {
            a = MatMul(x, w)
            b = Tanh(a)
            c = MatMul(b, v)
            y = Softmax(c) }""",
        w=rng_weight(4, 4),
        v=rng_weight(4, 4, seed=1),
    )
    spec = QuantSpec(IntType.parse("uint8"), symmetric=False)
    planned = QuantPlan(
        values={"x": ValuePlan(spec), "b": ValuePlan(spec)},
        float_nodes={"node_b": "no kernel", "node_y": "no kernel"},
    )
    plan = half_of(model, planned)
    assert plan.half == {"node_y"}
    assert plan.float_nodes == planned.float_nodes
    assert [n.where for n in plan.notes] == ["node_b"]
