from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.errors import ModelError
from onnxq.graph.edit import set_weight
from onnxq.graph.io import fingerprint
from onnxq.manager import BrokenPassError, PassManager
from onnxq.passbase import LoweringPass, PlanContext, PlanPass, RewritePass
from onnxq.passes.rewrite import float_rewrites
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.runtime.session import run_model
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import assert_same_function, feeds_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

_TEXT = """f (float[2,3,6,6] x, float[4,3,3,3] w, float k, float j) => (float[2,4,H,W] y) {
    a = Relu(x)
    b = Conv(a, w)
    c = Mul(b, k)
    d = Add(c, j)
    y = Sigmoid(d) }"""


class _Pass(RewritePass):
    def __init__(self, name: str, action: Callable[[ir.Model], bool]) -> None:
        super().__init__()
        self.name = name
        self.action = action
        self.runs = 0

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        self.runs += 1
        self.fired("somewhere", "did its work")
        self.refuse("elsewhere", "would not")
        return ir.passes.PassResult(model, self.action(model))


def _graph() -> ir.Model:
    return build(_TEXT, w=rng_weight(4, 3, 3, 3), k=2.0, j=0.5)


def _checking(source: ir.Model) -> PassManager:
    return PassManager(check=True, run_model=run_model, probes=[feeds_for(source)])


def _wrong(model: ir.Model) -> bool:
    set_weight(model.graph.initializers["k"], np.asarray(3.0, np.float32))
    return True


def _rename(model: ir.Model) -> bool:
    model.graph[1].outputs[0].name = "a"
    return True


def _lie(model: ir.Model) -> bool:
    model.graph[0].name = "another"
    return False


def _raise(model: ir.Model) -> bool:
    model.graph[0].op_type = "Neg"
    raise KeyError("a bug")


def _illegal(model: ir.Model) -> bool:
    model.graph[0].op_type = "NoSuchOperator"
    return True


def _unreadable(model: ir.Model) -> bool:
    model.graph.initializers["k"].const_value = object()  # type: ignore[assignment]
    return True


def _harmless(model: ir.Model) -> bool:
    model.graph[0].name = "renamed"
    return True


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (_wrong, "value 'c' differs: largest error"),
        (_rename, "two values are called 'a'"),
        (_lie, "it changed the model and says that it did not"),
        (lambda _: True, "it says that it changed the model and did not"),
        (_raise, "it raised KeyError: 'a bug'"),
        (_illegal, "the model does not run any more: "),
        (_unreadable, "the model cannot be read any more: "),
    ],
    ids=[
        "wrong",
        "duplicate",
        "hidden_change",
        "false_claim",
        "exception",
        "illegal",
        "unreadable",
    ],
)
def test_a_broken_rewrite_is_rolled_back(
    action: Callable[[ir.Model], bool], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = _graph()
    before = fingerprint(source)
    manager = _checking(source)
    with caplog.at_level(logging.WARNING):
        result = manager.rewrite(source, [_Pass("broken", action)])
    assert fingerprint(result) == before
    (entry,) = manager.trace.entries
    assert entry.rolled_back is not None
    assert entry.rolled_back.startswith(reason)
    assert not entry.modified
    assert manager.trace.rolled_back == (entry,)
    assert manager.trace.notes == ()
    assert "broken was rolled back" in caplog.text


def test_passes_around_a_broken_one_stand() -> None:
    source = _graph()
    manager = _checking(source)
    passes = [_Pass("first", _harmless), _Pass("broken", _wrong), *float_rewrites()]
    result = manager.rewrite(source, passes, to_fixpoint=False)
    assert result.graph[0].name == "renamed"
    assert ops(result) == ["Relu", "Conv", "Sigmoid"]
    assert [entry.name for entry in manager.trace.rolled_back] == ["broken"]
    assert_same_function(_graph(), result)


def test_an_exception_is_rolled_back_without_checks_too() -> None:
    source = _graph()
    before = fingerprint(source)
    manager = PassManager()
    result = manager.rewrite(source, [_Pass("quiet", lambda _: False), _Pass("bug", _raise)])
    assert fingerprint(result) == before
    assert manager.trace.entries[1].rolled_back == "it raised KeyError: 'a bug'"


def test_without_checks_a_rewrite_is_believed() -> None:
    manager = PassManager()
    result = manager.rewrite(_graph(), [_Pass("wrong", _wrong)])
    assert manager.trace.entries[0].modified
    assert result.graph.initializers["k"].const_value.numpy() == 3.0  # type: ignore[union-attr]


def test_a_judged_rewrite_is_not_believed_while_others_are() -> None:
    source = _graph()
    feeds = feeds_for(source)
    manager = PassManager(judged=("theirs",), run_model=run_model, probes=[feeds])
    result = manager.rewrite(source, [_Pass("ours", _wrong), _Pass("theirs", _illegal)])
    ours, theirs = manager.trace.entries
    assert ours.modified
    assert theirs.rolled_back is not None
    assert theirs.rolled_back.startswith("the model does not run any more")
    assert result.graph.initializers["k"].const_value.numpy() == 3.0  # type: ignore[union-attr]


def test_what_an_unjudged_rewrite_did_is_not_held_against_a_judged_one() -> None:
    source = _graph()
    manager = PassManager(judged=("a", "b"), run_model=run_model, probes=[feeds_for(source)])
    passes = [_Pass("a", _harmless), _Pass("ours", _wrong), _Pass("b", lambda _: False)]
    manager.rewrite(source, passes)
    assert manager.trace.rolled_back == ()
    assert [entry.modified for entry in manager.trace.entries] == [True, True, False]


def test_without_judged_passes_nothing_is_run() -> None:
    calls: list[object] = []

    def counting(*arguments: object) -> dict[str, npt.NDArray[np.float32]]:
        calls.append(arguments)
        return {}

    source = _graph()
    manager = PassManager(judged=("absent",), run_model=counting, probes=[feeds_for(source)])
    manager.rewrite(source, [_Pass("ours", _harmless)])
    assert calls == []


def test_a_users_error_passes_through() -> None:
    def refuse(model: ir.Model) -> bool:
        raise ModelError(f"{model.graph.name}: not like this")

    with pytest.raises(ModelError, match="not like this"):
        PassManager().rewrite(_graph(), [_Pass("strict", refuse)])


def test_the_trace_holds_time_kind_and_notes() -> None:
    manager = PassManager()
    manager.rewrite(_graph(), [_Pass("quiet", lambda _: False)])
    (entry,) = manager.trace.entries
    assert (entry.name, entry.kind, entry.modified) == ("quiet", "rewrite", False)
    assert 0.0 < entry.seconds < 1.0
    assert [note.kind for note in entry.notes] == [NoteKind.FIRED, NoteKind.REFUSED]
    assert manager.trace.notes == entry.notes


def test_a_fixpoint_runs_until_nothing_changes() -> None:
    source = _graph()
    manager = _checking(source)
    result = manager.rewrite(source, float_rewrites(), to_fixpoint=True)
    assert ops(result) == ["Relu", "Conv", "Sigmoid"]
    rounds = [entry.modified for entry in manager.trace.entries if entry.name == "fold-affine"]
    assert rounds[-1] is False
    assert all(rounds[:-1])
    assert not manager.trace.rolled_back


def test_a_fixpoint_is_bounded() -> None:
    number = iter(range(1000))

    def restless(model: ir.Model) -> bool:
        model.graph[0].name = f"name_{next(number)}"
        return True

    rewrite = _Pass("restless", restless)
    PassManager().rewrite(_graph(), [rewrite], to_fixpoint=True)
    assert rewrite.runs == 8


def test_a_fixpoint_keeps_refusals_of_the_last_round_only() -> None:
    answers = iter([True, True, False])
    manager = PassManager()
    manager.rewrite(_graph(), [_Pass("p", lambda _: next(answers))], to_fixpoint=True)
    kinds = [note.kind for note in manager.trace.notes]
    assert kinds.count(NoteKind.FIRED) == 3
    assert kinds.count(NoteKind.REFUSED) == 1


def test_a_fixpoint_does_not_try_a_broken_rewrite_again() -> None:
    source = _graph()
    broken = _Pass("broken", _wrong)
    _checking(source).rewrite(source, [broken, *float_rewrites()], to_fixpoint=True)
    assert broken.runs == 1


def test_progress() -> None:
    calls: list[tuple[str, int, int]] = []
    manager = PassManager(progress=lambda stage, done, total: calls.append((stage, done, total)))
    manager.rewrite(_graph(), [_Pass("a", lambda _: False), _Pass("b", lambda _: False)])
    assert calls == [("rewrite", 0, 2), ("rewrite", 1, 2), ("rewrite", 2, 2)]


def test_probes_need_a_way_to_run_them() -> None:
    with pytest.raises(ValueError, match="run_model"):
        PassManager(check=True, probes=[{"x": np.zeros(1)}])
    with pytest.raises(ValueError, match="run_model"):
        PassManager(judged=("theirs",), probes=[{"x": np.zeros(1)}])


@dataclass(frozen=True)
class _Revision(PlanPass):
    name: str
    edits: bool = False

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        if self.edits:
            context.model.graph[0].name = "edited"
        context.progress(self.name, 1, 2)
        note = Note(NoteKind.INFO, self.name, "here", "looked")
        return replace(plan, notes=(*plan.notes, note))


def _context(source: ir.Model) -> PlanContext:
    def no_samples(_: int) -> list[dict[str, npt.NDArray[np.float32]]]:
        return []

    return PlanContext(source, None, None, {}, no_samples)  # type: ignore[arg-type]


def test_plan_passes_run_in_order_and_leave_their_own_notes() -> None:
    manager = PassManager(check=True)
    passes = [_Revision("first"), _Revision("second")]
    plan = manager.revise(_context(_graph()), passes, QuantPlan())
    assert [note.source for note in plan.notes] == ["first", "second"]
    assert [[n.source for n in entry.notes] for entry in manager.trace.entries] == [
        ["first"],
        ["second"],
    ]
    assert {entry.kind for entry in manager.trace.entries} == {"plan"}


def test_a_plan_pass_may_tell_how_far_it_has_come() -> None:
    told: list[tuple[str, int, int]] = []
    manager = PassManager(progress=lambda *what: told.append(what))

    manager.revise(_context(_graph()), [_Revision("slow")], QuantPlan())

    assert told == [("plan", 0, 1), ("slow", 1, 2), ("plan", 1, 1)]


def test_a_plan_pass_may_not_edit_the_model() -> None:
    manager = PassManager(check=True)
    with pytest.raises(BrokenPassError, match="plan pass rogue edited the float model"):
        manager.revise(_context(_graph()), [_Revision("rogue", edits=True)], QuantPlan())


def test_a_judged_plan_pass_is_rolled_back_where_ours_is_a_bug() -> None:
    source = _graph()
    before = fingerprint(source)
    manager = PassManager(judged=("theirs",))
    plan = manager.revise(_context(source), [_Revision("theirs", edits=True)], QuantPlan())
    assert plan.notes == ()
    assert fingerprint(source) == before
    assert manager.trace.entries[0].rolled_back == "it edited the float model"
    assert not manager.trace.entries[0].modified


class _Lowering(LoweringPass):
    name = "lowering"

    def __init__(self, edits_input: bool = False, drops_output: bool = False) -> None:
        super().__init__(QuantPlan())
        self.edits_input = edits_input
        self.drops_output = drops_output

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        lowered = model.clone()
        if self.edits_input:
            model.graph[0].name = "edited"
        if self.drops_output:
            lowered.graph.outputs.clear()
        return ir.passes.PassResult(lowered, modified=True)


def test_a_lowering_returns_a_new_model() -> None:
    source = _graph()
    manager = PassManager(check=True)
    lowered = manager.lower(source, _Lowering())
    assert lowered is not source
    assert manager.trace.entries[0].kind == "lowering"


@pytest.mark.parametrize(
    ("lowering", "reason"),
    [
        (_Lowering(edits_input=True), "it edited the float model"),
        (_Lowering(drops_output=True), "the graph's outputs were"),
    ],
    ids=["edits", "drops_output"],
)
def test_a_lowering_that_breaks_its_contract(lowering: _Lowering, reason: str) -> None:
    with pytest.raises(BrokenPassError, match=reason):
        PassManager(check=True).lower(_graph(), lowering)


def test_a_watch_is_shown_the_model_ahead_of_every_rewrite() -> None:
    seen: list[tuple[str, list[str]]] = []
    manager = PassManager(watch=lambda name, model: seen.append((name, ops(model))))

    def drop(model: ir.Model) -> bool:
        relu = next(node for node in model.graph if node.op_type == "Relu")
        relu.outputs[0].consumers()[0].replace_input_with(0, relu.inputs[0])
        model.graph.remove(relu, safe=True)
        return True

    manager.rewrite(_graph(), [_Pass("first", drop), _Pass("second", lambda _: False)])

    assert [(name, "Relu" in found) for name, found in seen] == [("first", True), ("second", False)]


def test_the_trace_says_what_a_pass_does() -> None:
    manager = PassManager()
    manager.rewrite(_graph(), float_rewrites()[:1])

    assert manager.trace.entries[0].summary
    assert manager.trace.entries[0].summary in (float_rewrites()[0].__doc__ or "")
