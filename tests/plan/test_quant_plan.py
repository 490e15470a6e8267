from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, QuantSpec

FINE = ValuePlan(QuantSpec(IntType.parse("uint8"), symmetric=False))
COARSE = ValuePlan(QuantSpec(IntType.parse("uint4"), symmetric=False))


@pytest.mark.parametrize("name", ["values", "uses", "bias_shift", "float_nodes"])
def test_mappings_cannot_be_written_to(name: str) -> None:
    given: dict[str, object] = {}
    plan = QuantPlan(**{name: given})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        getattr(plan, name)["x"] = 1
    given["x"] = 1
    assert not getattr(plan, name)


def test_fields_cannot_be_replaced() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        QuantPlan().groups = ()  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        FINE.params = None  # type: ignore[misc]


def test_a_use_overrides_its_value() -> None:
    plan = QuantPlan({"x": FINE}, {Use("n", 1): COARSE})
    assert plan.of("x") is FINE
    assert plan.of("x", Use("n", 0)) is FINE
    assert plan.of("x", Use("n", 1)) is COARSE
    assert plan.of("y") is None


def test_changes_make_a_new_plan() -> None:
    plan = QuantPlan({"x": FINE}, {Use("n", 1): FINE}, groups=(frozenset("xy"),))
    changed = plan.with_values({"x": COARSE, "y": FINE})
    assert changed.values == {"x": COARSE, "y": FINE}
    assert changed.uses == plan.uses
    assert changed.groups == plan.groups
    assert changed.without(["x", "nothing"]).values == {"y": FINE}
    assert plan.values == {"x": FINE}


def test_notes_are_appended() -> None:
    one, two = (Note(NoteKind.INFO, "pass", "x", text) for text in ("one", "two"))
    assert QuantPlan(notes=(one,)).with_notes([two]).notes == (one, two)


def test_a_value_without_a_group_is_its_own() -> None:
    plan = QuantPlan(groups=(frozenset({"a", "b"}), frozenset({"c", "d"})))
    assert plan.group_of("c") == {"c", "d"}
    assert plan.group_of("z") == {"z"}


def test_arrays_of_shifts_are_kept() -> None:
    shift = np.ones(3, np.float32)
    assert QuantPlan(bias_shift={"n": shift}).bias_shift["n"] is shift
