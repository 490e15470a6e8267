from __future__ import annotations

import json

from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, QuantSpec
from onnxq.report.bits import activation_bits, narrow_text
from onnxq.report.json_report import json_report
from onnxq.report.summary import facts
from tests.report.samples import sample_result


def plan(**types: str) -> QuantPlan:
    """Values of these types; signed ones are weights."""
    parsed = {name: IntType.parse(dtype) for name, dtype in types.items()}
    return QuantPlan({n: ValuePlan(QuantSpec(t, symmetric=t.signed)) for n, t in parsed.items()})


MIXED = plan(x="uint8", a="uint4", b="uint4", w="int4")


def test_every_activation_has_its_bits_and_weights_have_none() -> None:
    assert activation_bits(MIXED) == {"x": 8, "a": 4, "b": 4}


def test_what_was_narrowed_is_counted() -> None:
    assert narrow_text(MIXED) == ("4 bits", "2 of 3 quantized activations, 1 with 8")


def test_nothing_is_said_where_all_are_alike() -> None:
    assert narrow_text(plan(x="uint8", a="uint8", w="int4")) is None
    labels = [fact.label for fact in facts(sample_result(plan=plan(x="uint8")))]
    assert "activations" not in labels


def test_reports_tell_the_bits() -> None:
    result = sample_result(plan=MIXED)
    told = next(fact for fact in facts(result) if fact.label == "activations")
    assert told.value == "4 bits"
    assert json.loads(json_report(result))["activation_bits"] == {"x": 8, "a": 4, "b": 4}
