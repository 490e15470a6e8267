"""The current model of one run of rewrites: each is held to its contract, and undone if need be."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from onnxq.contract import Reference, find_violation, structural_fault
from onnxq.errors import OnnxqError
from onnxq.graph.io import fingerprint
from onnxq.graph.prior import forget_lost

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.prior import Prior
    from onnxq.passbase import RewritePass, RunModel
    from onnxq.plan.note import Note

    Arrays = Mapping[str, npt.NDArray[Any]]

__all__ = ["Outcome", "Rewriting"]

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What one rewrite did.

    Attributes:
        seconds: Its wall time, checks left out.
        modified: Whether it changed the model and the change stands.
        notes: What it did and what it refused.
        fault: Why its work was undone; None if it stands.
    """

    seconds: float
    modified: bool
    notes: tuple[Note, ...]
    fault: str | None


class _Measured(NamedTuple):
    """A model's fingerprint, and its outputs on the probes."""

    print: str
    outputs: tuple[Arrays, ...]


class Rewriting:
    """The current model, with what is needed to undo the last rewrite.

    Args:
        model: Edited in place as long as nothing has to be undone.
        run_model: Runs a model with all optimizations off; None = only the form is checked.
        probes: Feeds on which a judged rewrite must keep the outputs.
        prior: What rewrites know of values. It is undone with what they did, and loses the values
            that they remove.

    Attributes:
        model: The current model.
    """

    def __init__(
        self,
        model: ir.Model,
        *,
        run_model: RunModel | None,
        probes: tuple[Arrays, ...],
        prior: Prior | None = None,
    ) -> None:
        self.model = model
        self._run_model = run_model
        self._probes = probes
        self._prior: Prior = {} if prior is None else prior
        self._snapshot: ir.Model | None = None
        self._measured: _Measured | None = None

    def run(self, rewrite: RewritePass, *, judge: bool) -> Outcome:
        """Runs one rewrite, and undoes it if it raises or, when judged, breaks its contract.

        Raises:
            OnnxqError: It met something that the user has to mend.
        """
        before = self._snapshot = self._snapshot or self.model.clone()
        known = dict(self._prior)
        measured = self._measure() if judge else None
        modified, fault = False, None
        start = time.perf_counter()
        try:
            modified = rewrite(self.model).modified
        except OnnxqError:
            raise
        except Exception as error:
            logger.debug("%s raised", rewrite.name, exc_info=True)
            fault = f"it raised {type(error).__name__}: {error}"
        seconds = time.perf_counter() - start
        notes = tuple(rewrite.take_notes())
        if measured is not None and fault is None:
            try:
                fault = self._judge(before, measured, claimed=modified)
            except Exception as error:
                logger.debug("what %s left cannot be judged", rewrite.name, exc_info=True)
                fault = f"the model cannot be read any more: {type(error).__name__}: {error}"
        elif modified:
            self._measured = None
        if fault is not None:
            logger.warning("%s was rolled back: %s", rewrite.name, fault)
            self.model = before
            self._prior.clear()
            self._prior.update(known)
        elif modified:
            forget_lost(self._prior, self.model.graph)
        if fault is not None or modified:
            self._snapshot = None
        return Outcome(seconds, modified and fault is None, notes, fault)

    def _measure(self) -> _Measured:
        """Returns what the current model is held to; measured once as long as it stays."""
        if self._measured is None:
            self._measured = _Measured(fingerprint(self.model), self._outputs())
        return self._measured

    def _judge(self, before: ir.Model, measured: _Measured, *, claimed: bool) -> str | None:
        """Says how the contract is broken; None if not, and then the new model is the reference."""
        print_now = fingerprint(self.model)
        changed = print_now != measured.print
        if changed and not claimed:
            return "it changed the model and says that it did not"
        if claimed and not changed:
            return "it says that it changed the model and did not"
        fault = structural_fault(before, self.model) if changed else None
        if fault is not None or not changed:
            return fault
        outputs: tuple[Arrays, ...] = ()
        if self._run_model is not None:
            try:
                outputs = self._outputs()
            except Exception as error:
                logger.debug("the rewritten model does not run", exc_info=True)
                return f"the model does not run any more: {error}"
            reference = Reference(before, measured.outputs)
            fault = find_violation(reference, self.model, outputs, self._probes, self._run_model)
            if fault is not None:
                return fault
        self._measured = _Measured(print_now, outputs)
        return None

    def _outputs(self) -> tuple[Arrays, ...]:
        run_model = self._run_model
        if run_model is None:
            return ()
        return tuple(run_model(self.model, feeds, None) for feeds in self._probes)
