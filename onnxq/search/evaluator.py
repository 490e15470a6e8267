"""Plan → loss at the outputs, for thousands of plans.

The quantized model is made once. What onnxruntime makes of it at the level at which it will run is
then run as it is, with scales, zero points and what follows from them as inputs (the same kernels,
so the same outputs, bit for bit, as those of the model that would be written):

1. A plan that differs in ranges and weights' codes alone gives other inputs. Any other difference,
   and ranges that onnxruntime fuses otherwise (``Conditions``), prepare the model anew.
2. The graph is a chain of segments. Candidates that agree in the params of the first k of them are
   run from the state behind the k-th, which is kept for all samples as far as the budget reaches.
3. Candidates whose ranges differ by next to nothing share one evaluation.
4. Samples run side by side on an executor, if there is one. Losses are added in their order.

Memory grows with the samples (their inputs, the float model's outputs, one state each), not with
the number of plans.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.errors import DataError
from onnxq.runtime.expose import expose
from onnxq.runtime.session import make_session
from onnxq.search.either_side import walk_either_side
from onnxq.search.prepared import Prepared, difference
from onnxq.search.similar import first_alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.search.chain import State
    from onnxq.search.simulation import Simulate
    from onnxq.tasks.loss import OutputLoss

    Params = Mapping[str, npt.NDArray[Any]]

__all__ = ["Evaluator"]

_BUDGET_BYTES = 1 << 28
_SEGMENTS = 16


@dataclass
class _Kept:
    """States behind a segment, of all samples, and the params that led there.

    Attributes:
        cut: Number of segments that were run.
        params: Those of the segments before the cut.
        states: One for each sample.
    """

    cut: int
    params: Params
    states: list[State]


@dataclass
class Evaluator:
    """See the module.

    Attributes:
        model: The float model; never changed.
        simulate: Makes the quantized model of a plan with its params apart.
        feeds: The samples, kept in memory.
        at_outputs: What to measure.
        threads: Threads inside an operator.
        executor: Runs samples side by side; None = one after the other.
        budget: Bytes of states to keep.
        segments: Most parts to cut the model into.
        caching: Whether states are kept at all.
        work: Runs of one sample through the whole model so far, parts counted as such.
        evaluations: Plans measured so far.
        progress: Called with :attr:`evaluations` whenever one more is done.
    """

    model: ir.Model
    simulate: Simulate
    feeds: Sequence[Feed]
    at_outputs: OutputLoss
    threads: int = 1
    executor: Executor | None = None
    budget: int = _BUDGET_BYTES
    segments: int = _SEGMENTS
    caching: bool = True
    work: float = 0.0
    evaluations: int = 0
    progress: Callable[[int], None] | None = None
    _prepared: Prepared | None = field(default=None, init=False, repr=False)
    _kept: _Kept | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.feeds:
            raise DataError("there is no sample to measure on; give calibration data with --data")
        outputs = [str(value.name) for value in self.model.graph.outputs]
        if set(self.at_outputs.values) != set(outputs):
            self.model = expose(self.model, self.at_outputs.values)
        session = make_session(self.model, threads=self.threads, spin=False)
        self._wanted = [session.run(feed) for feed in self.feeds]

    def loss(self, plan: QuantPlan) -> float:
        """Returns the mean loss of a plan.

        Args:
            plan: With params for all that it quantizes.

        Raises:
            ModelError: onnxruntime refuses the model that the plan leads to.
        """
        return self.losses([plan])[0]

    def losses(self, candidates: Sequence[QuantPlan]) -> list[float]:
        """Returns the mean loss of each candidate; like ones get the loss of the first of them."""
        return [float(losses.mean()) for losses in self.each(candidates)]

    def descend(
        self, candidates: Sequence[QuantPlan], start: int, judges: Sequence[int] | None = None
    ) -> dict[int, npt.NDArray[np.float64]]:
        """Returns losses of candidates in order, from ``start`` to either side until they worsen.

        Args:
            candidates: Ordered by what is searched, such as p.
            start: Position of the one to begin with.
            judges: Numbers of the samples whose mean loss decides; None for all.

        Returns:
            Position → losses on each sample, float64 [samples], for those that were measured.
        """
        among = slice(None) if judges is None else list(judges)
        found: dict[int, npt.NDArray[np.float64]] = {}
        alike = first_alike(candidates)
        cut = self._common(candidates, start)

        def measured(at: int) -> float:
            first = alike[at]
            if first not in found:
                found[first] = self._measure(candidates[first], cut)
            return float(found.setdefault(at, found[first])[among].mean())

        walk_either_side(len(candidates), start, measured)
        return found

    def each(self, candidates: Sequence[QuantPlan]) -> list[npt.NDArray[np.float64]]:
        """Returns the losses of each candidate on each sample, float64 [samples]."""
        cut = self._common(candidates)
        found: list[npt.NDArray[np.float64]] = []
        for at, first in enumerate(first_alike(candidates)):
            found.append(found[first] if first < at else self._measure(candidates[at], cut))
        return found

    def _common(self, candidates: Sequence[QuantPlan], start: int = 0) -> int:
        """Returns the number of segments that all candidates run alike; prepares for the start."""
        prepared = self._prepare(candidates[start])
        first = prepared.start_from(candidates[start])
        others = (prepared.params(plan) for plan in candidates)
        cuts = [prepared.agreement(first, other) for other in others if other is not None]
        return min(cuts, default=0)

    def _prepare(self, plan: QuantPlan) -> Prepared:
        if self._prepared is None or self._prepared.params(plan) is None:
            self._kept = self._prepared = None
            self._prepared = Prepared(
                self.model,
                self.simulate,
                plan,
                self.feeds[0],
                segments=self.segments,
                threads=self.threads,
            )
        return self._prepared

    def _measure(self, plan: QuantPlan, cut: int) -> npt.NDArray[np.float64]:
        """Measures one plan, and keeps the states behind ``cut`` segments if they are small."""
        prepared = self._prepare(plan)
        params = prepared.params(plan)
        assert params is not None, "it was prepared for just now"
        self._advance(prepared, params, cut)
        kept = self._usable(prepared, params)

        def run(number: int) -> float:
            start, state = (0, {}) if kept is None else (kept.cut, kept.states[number])
            feed = self.feeds[number]
            state = prepared.run(feed, state, params, start, prepared.length)
            return self.at_outputs.measure(self._wanted[number], prepared.outputs(feed, state))

        losses = self._map(run)
        self._count(prepared.work(0 if kept is None else kept.cut, prepared.length))
        self.evaluations += 1
        if self.progress is not None:
            self.progress(self.evaluations)
        measured = np.array(losses, np.float64)
        measured[np.isnan(measured)] = np.inf
        return measured

    def _advance(self, prepared: Prepared, params: Params, cut: int) -> None:
        """Keeps the states behind ``cut`` segments, or those kept before where they are too big."""
        kept = self._usable(prepared, params)
        start = 0 if kept is None else kept.cut
        if (
            not self.caching
            or cut <= start
            or prepared.state_bytes(cut) * len(self.feeds) > self.budget
        ):
            return

        def run(number: int) -> State:
            state = {} if kept is None else kept.states[number]
            return prepared.run(self.feeds[number], state, params, start, cut)

        self._kept = _Kept(cut, prepared.before(cut, params), self._map(run))
        self._count(prepared.work(start, cut))

    def _usable(self, prepared: Prepared, params: Params) -> _Kept | None:
        """Returns the states that were kept if these params lead to them."""
        kept = self._kept
        if kept is None or any(difference(params[n], array) for n, array in kept.params.items()):
            return None
        return kept if kept.cut <= prepared.length else None

    def _map(self, function: Callable[[int], Any]) -> list[Any]:
        numbers: Iterable[int] = range(len(self.feeds))
        mapped = map if self.executor is None else self.executor.map
        return list(mapped(function, numbers))

    def _count(self, work: float) -> None:
        self.work += work * len(self.feeds)
