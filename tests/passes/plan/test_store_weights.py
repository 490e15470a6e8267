from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.plan.store_weights import StoreWeights
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerTensor, QuantSpec
from tests.passes.plan.planning import hand_context, revised
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir


def chain(body: str, weight: npt.NDArray[np.generic] | None = None) -> ir.Model:
    """Nodes that read x [1, 32] and the weight w [32, 32]."""
    data = rng_weight(32, 32) if weight is None else weight
    return build(f"f (float[1,32] x, float[32,32] w) => (float[M,32] y) {{ {body} }}", w=data)


TWO = "t = MatMul(x, w) y = MatMul(t, w)"


def floats(*names: str) -> QuantPlan:
    return QuantPlan(float_nodes=dict.fromkeys(names, "too dear"))


def stored(source: ir.Model, given: QuantPlan, **options: object) -> QuantPlan:
    """Runs the pass; only what it owns may differ."""
    found = revised(StoreWeights(**options), hand_context(source), given)  # type: ignore[arg-type]
    assert dict(found.values) == dict(given.values)
    assert found.float_nodes == given.float_nodes
    return found


def test_the_weight_of_a_float_layer_is_planned_for_its_use() -> None:
    plan = stored(chain("y = MatMul(x, w)"), floats("node_y"))
    assert list(plan.uses) == [Use("node_y", 1)]
    planned = plan.uses[Use("node_y", 1)]
    assert planned.spec == QuantSpec(IntType.parse("int8"), True, PerAxis(1))
    assert planned.params is not None
    largest = np.abs(rng_weight(32, 32)).max(axis=0)
    np.testing.assert_allclose(planned.params.scale, largest / 127, rtol=1e-6)
    assert [(note.kind, note.where) for note in plan.notes] == [(NoteKind.FIRED, "node_y")]


def test_one_scale_for_all_on_request() -> None:
    plan = stored(chain("y = MatMul(x, w)"), floats("node_y"), per_channel=False)
    assert plan.uses[Use("node_y", 1)].spec.granularity == PerTensor()


def test_layers_on_integers_are_left_alone() -> None:
    assert not stored(chain("y = MatMul(x, w)"), QuantPlan()).uses


def test_float_layers_share_one_copy_and_integer_ones_keep_theirs() -> None:
    source = chain(f"{TWO.replace('y =', 'u =')} y = MatMul(u, w)")
    spec = QuantSpec(IntType.parse("int4"), True, PerAxis(1))
    reasons = dict.fromkeys(("node_t", "node_y"), "too dear")
    given = QuantPlan({"w": ValuePlan(spec)}, float_nodes=reasons)
    plan = stored(source, given)
    assert set(plan.uses) == {Use("node_t", 1), Use("node_y", 1)}
    assert plan.uses[Use("node_t", 1)] is plan.uses[Use("node_y", 1)]


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (TWO, {"keep_float": ("*_y",)}),
        ("y = MatMul(x, w)", {"least": 1025}),
        ("t = MatMul(x, w) y = Add(t, w)", {}),
        ("t = MatMul(x, w) y = MatMul(w, w)", {}),
    ],
    ids=["1: asked for", "2: small", "3: other reader", "3: other side"],
)
def test_weights_that_stay_float(body: str, options: dict[str, object]) -> None:
    assert not stored(chain(body), floats("node_t", "node_y"), **options).uses


def test_rule_4_weights_that_are_not_finite_stay() -> None:
    broken = chain("y = MatMul(x, w)", np.full((32, 32), np.inf, np.float32))
    assert not stored(broken, floats("node_y")).uses
