"""The three kinds of pass, by what they may write, and the notes they leave.

=========  ==============================  ======================================
kind       reads                           writes
=========  ==============================  ======================================
rewrite    model (statistics if handed     the model, function-preserving
           to its constructor)
plan       context, plan                   returns a new plan; never the model
lowering   model, plan                     returns a new model; decides nothing
=========  ==============================  ======================================
"""

from __future__ import annotations

import abc
import copy
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy.typing as npt
import onnx_ir as ir

from onnxq.plan.note import Note, NoteKind

if TYPE_CHECKING:
    from onnxq.graph.prior import Prior
    from onnxq.numerics.statistics import Stats
    from onnxq.pass_options import PassOption
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.plan.target import Target

__all__ = [
    "LoweringPass",
    "PlanContext",
    "PlanPass",
    "Progress",
    "RewritePass",
    "RunModel",
    "node_label",
    "silent",
    "summary_of",
]

logger = logging.getLogger(__name__)

_NO_OPTIONS: Mapping[str, PassOption] = MappingProxyType({})

RunModel = Callable[
    [ir.Model, Mapping[str, npt.NDArray[Any]], Sequence[str] | None],
    Mapping[str, npt.NDArray[Any]],
]
"""Runs a model on feeds and returns the named values (None = its outputs)."""


class Progress(Protocol):
    """Is told how far a stage has come."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Reports that ``done`` of ``total`` steps of ``stage`` are over."""


def silent(stage: str, done: int, total: int) -> None:
    """Shows no progress."""
    del stage, done, total


@dataclass(frozen=True, eq=False)
class PlanContext:
    """What a plan pass may read.

    Attributes:
        model: The float model; read-only.
        target: What the model will run on.
        stats: Statistics of the values; None without data.
        shapes: Value name → the shape that one sample gave it.
        samples: Returns a fresh iterator over at most that many calibration samples.
        threads: Threads that a pass may use.
        prior: What BatchNormalization told of values before it was folded away; needs no data.
        progress: Is told how far a pass has come that takes long, by its name.
    """

    model: ir.Model
    target: Target
    stats: Stats | None
    shapes: Mapping[str, tuple[int, ...]]
    samples: Callable[[int], Iterable[Mapping[str, npt.NDArray[Any]]]]
    threads: int = 1
    prior: Prior = field(default_factory=dict)
    progress: Progress = silent


def node_label(node: ir.Node) -> str:
    """Returns a name for ``node`` that a user can find: its own, or its first output's."""
    if node.name:
        return node.name
    outputs = [value.name for value in node.outputs if value.name]
    return outputs[0] if outputs else node.op_type


def summary_of(found: RewritePass | PlanPass | LoweringPass) -> str:
    """Returns what a pass does, in one line: the first of its class's docstring."""
    return next(iter((type(found).__doc__ or "").strip().splitlines()), "")


class _Notebook:
    """Collects the notes of one run of a pass."""

    name: str

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def _note(self, kind: NoteKind, place: ir.Node | ir.Value | str, text: str) -> None:
        if isinstance(place, ir.Node):
            where = node_label(place)
        elif isinstance(place, ir.Value):
            where = place.name or "?"
        else:
            where = place
        logger.debug("%s: %s at %s: %s", self.name, kind.value, where, text)
        self._notes.append(Note(kind, self.name, where, text))

    def take_notes(self) -> list[Note]:
        """Returns the notes since the last call and forgets them."""
        notes, self._notes = self._notes, []
        return notes


class RewritePass(_Notebook, ir.passes.InPlacePass):
    """Edits the float model in place and keeps its function.

    A subclass sets :attr:`name`, implements ``call(model) -> PassResult`` that walks the graph, and
    one ``_try_<verb>(site) -> bool`` that decides and edits one site. It reports with
    :meth:`fired` and :meth:`refuse`.

    Attributes:
        name: What ``--passes``, ``--skip`` and a pipeline file call it.
        options: What a pipeline file may set; each is an attribute of this name.
        after: Names of passes that must not come later in a pipeline file.
        on_request: Whether it runs only where the options name it.
    """

    name: str
    options: ClassVar[Mapping[str, PassOption]] = _NO_OPTIONS
    after: ClassVar[frozenset[str]] = frozenset()
    on_request: ClassVar[bool] = False

    def __init__(self) -> None:
        _Notebook.__init__(self)
        ir.passes.InPlacePass.__init__(self)

    def fired(self, place: ir.Node | ir.Value | str, text: str) -> bool:
        """Notes that the pass changed the model at ``place``; returns True."""
        self._note(NoteKind.FIRED, place, text)
        return True

    def refuse(self, place: ir.Node | ir.Value | str, reason: str) -> bool:
        """Notes why the pass leaves ``place`` as it is; returns False."""
        self._note(NoteKind.REFUSED, place, reason)
        return False

    def configured(self, values: Mapping[str, object]) -> Self:
        """Returns the same pass with other values of its :attr:`options`."""
        other = copy.copy(self)
        other._notes = []
        vars(other).update(values)
        return other

    def __str__(self) -> str:
        return self.name


class PlanPass(abc.ABC):
    """Revises the quantization plan; subclasses are frozen dataclasses that hold their options.

    ``revise`` reads the context (float model, statistics, target, data) and returns a new plan. It
    never edits the model. What it did and why goes into the new plan's notes.

    Attributes:
        name: What ``--passes``, ``--skip`` and a pipeline file call it.
        options: What a pipeline file may set; each is a field of this name.
        after: Names of passes that must not come later in a pipeline file.
        on_request: Whether it runs only where the options name it.
    """

    name: str
    options: ClassVar[Mapping[str, PassOption]] = _NO_OPTIONS
    after: ClassVar[frozenset[str]] = frozenset()
    on_request: ClassVar[bool] = False

    @abc.abstractmethod
    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns a new plan made from ``plan``."""

    def configured(self, values: Mapping[str, object]) -> Self:
        """Returns the same pass with other values of its :attr:`options`."""
        return replace(self, **values)  # type: ignore[type-var]


class LoweringPass(ir.passes.FunctionalPass):
    """Makes a new model from the float model and a plan; decides nothing.

    Attributes:
        plan: What to emit.
    """

    name: str

    def __init__(self, plan: QuantPlan) -> None:
        super().__init__()
        self.plan = plan

    def __str__(self) -> str:
        return self.name
