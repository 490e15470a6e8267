"""A quantized model that is ready to be run with the params of many plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.runtime.expose import expose, produced_values
from onnxq.runtime.optimized import optimized_model
from onnxq.runtime.session import make_session
from onnxq.search.chain import Chain
from onnxq.search.neighbourhood import Neighbourhood
from onnxq.search.similar import same_but_for_values, same_shifts
from onnxq.search.simulation import Conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.search.chain import State
    from onnxq.search.simulation import Simulate

    Params = Mapping[str, npt.NDArray[Any]]

__all__ = ["Prepared", "difference"]

_REMEMBERED = 32
# Values that change together when one is searched: those of a group.
_FEW = 24


def difference(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> bool:
    """Says whether two params differ."""
    return first is not second and not np.array_equal(first, second)


class Prepared:
    """The chain of one quantized model.

    Attributes:
        length: Number of its segments.
    """

    def __init__(  # noqa: PLR0913 (two of the six are named at the call)
        self,
        model: ir.Model,
        simulate: Simulate,
        plan: QuantPlan,
        feed: Feed,
        *,
        segments: int,
        threads: int,
    ) -> None:
        """Makes the quantized model, has onnxruntime optimize it, and cuts it.

        Args:
            model: The float model; its outputs are what the loss looks at.
            simulate: Makes the quantized model of a plan.
            plan: The first plan.
            feed: A sample that shows the sizes of the values.
            segments: Most parts to cut it into.
            threads: Threads inside an operator.
        """
        self._model, self._simulate, self._plan = model, simulate, plan
        simulation = simulate(model, plan)
        self._conditions = Conditions(simulation)
        self._answers = self._conditions.of(simulation.params)
        self._known: Params = dict(simulation.params)
        # The plans are kept too, lest another one gets the id of one that is gone.
        self._found: dict[int, tuple[QuantPlan, Params | None]] = {}
        self._near_by: Neighbourhood | None = None
        graph = optimized_model(simulation.model)
        fed = _feed_params(graph, simulation.params)
        self._fixed = sorted(simulation.weights - fed.keys())
        observed = _observed(graph, {**feed, **fed})
        for name, value in produced_values(graph).items():
            if value.type is None and name in observed:
                value.type = ir.TensorType(ir.DataType.from_numpy(observed[name].dtype))
        sizes = {name: array.size for name, array in observed.items()}
        self._chain = Chain(graph, fed, sizes, segments=segments, threads=threads)
        self._segments = self._chain.segments
        self.length = len(self._segments)
        self._bytes = [0]
        for segment in self._segments:
            left = (*segment.session.outputs, *segment.keeps)
            self._bytes.append(sum(observed[name].nbytes for name in left))

    def params(self, plan: QuantPlan) -> Params | None:
        """Returns the params of a plan; None if the model must be prepared anew for it."""
        if plan is self._plan:
            return self._known
        if id(plan) not in self._found:
            if len(self._found) >= _REMEMBERED:
                del self._found[next(iter(self._found))]
            self._found[id(plan)] = plan, self._derived(plan)
        return self._found[id(plan)][1]

    def start_from(self, plan: QuantPlan) -> Params:
        """Returns the params of a plan from which those to come will differ in few values.

        Args:
            plan: One that the model need not be prepared anew for.
        """
        params = self.params(plan)
        assert params is not None, "the model is prepared for it"
        if plan is not self._plan:
            self._plan, self._known, self._near_by = plan, params, None
        return params

    def _derived(self, plan: QuantPlan) -> Params | None:
        changed = _changed_params(self._plan, plan)
        if changed is None:
            return None
        found = self._near(changed, plan) or self._simulate(self._model, plan).params
        if found.keys() != self._known.keys() or self._conditions.of(found) != self._answers:
            return None
        fixed = any(difference(found[name], self._known[name]) for name in self._fixed)
        return None if fixed else found

    def _near(self, changed: frozenset[str], plan: QuantPlan) -> Params | None:
        """Returns the params of a plan that differs from the last one in few values, or None."""
        if len(changed) > _FEW or not same_shifts(plan, self._plan):
            return None
        if self._near_by is None or not self._near_by.around >= changed:
            self._near_by = Neighbourhood(
                self._model, self._simulate, changed, self._plan, self._known
            )
        near = self._near_by.params(plan) if self._near_by.usable else None
        return None if near is None else {**self._known, **near}

    def agreement(self, first: Params, second: Params) -> int:
        """Returns the number of segments before the first one whose params differ."""
        for number, segment in enumerate(self._segments):
            if any(difference(first[name], second[name]) for name in segment.params):
                return number
        return self.length

    def before(self, cut: int, params: Params) -> Params:
        """Returns the params of the first ``cut`` segments."""
        names = (name for segment in self._segments[:cut] for name in segment.params)
        return {name: params[name] for name in names}

    def run(self, feed: Feed, state: State, params: Params, start: int, stop: int) -> State:
        """Runs segments ``start`` … ``stop`` - 1 from a state, and returns the next one."""
        for number in range(start, stop):
            state = self._chain.run(number, feed, state, params)
        return state

    def outputs(self, feed: Feed, state: State) -> dict[str, npt.NDArray[Any]]:
        """Returns the model's outputs from the state behind the last segment."""
        return self._chain.outputs(feed, state)

    def work(self, start: int, stop: int) -> float:
        """Returns the share of the model's work that segments ``start`` … ``stop`` - 1 take."""
        return sum(segment.work for segment in self._segments[start:stop])

    def state_bytes(self, cut: int) -> int:
        """Returns the bytes of the state behind ``cut`` segments, for one sample."""
        return self._bytes[cut]


def _feed_params(graph: ir.Model, params: Params) -> dict[str, npt.NDArray[Any]]:
    """Turns the params that onnxruntime kept into inputs, in place, and returns them.

    Others are worth nothing to it: the scale of a bias, or both sides of what moves codes.
    """
    fed = {}
    for name, array in params.items():
        value = graph.graph.initializers.pop(name, None)
        if value is not None:
            value.const_value = None
            graph.graph.inputs.append(value)
            fed[name] = array
    return fed


def _observed(graph: ir.Model, feeds: Feed) -> dict[str, npt.NDArray[Any]]:
    """Returns all values of a graph on one sample."""
    session = make_session(expose(graph, produced_values(graph)), optimize=False, spin=False)
    found = session.run(feeds)
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


def _changed_params(first: QuantPlan, second: QuantPlan) -> frozenset[str] | None:
    """Returns the values that differ in params or codes; None if more differs, shifts aside."""
    if not same_but_for_values(first, second):
        return None
    changed = set()
    for name, one in first.values.items():
        other = second.values[name]
        if one is other:
            continue
        if one.spec != other.spec:
            return None
        changed.add(name)
    return frozenset(changed)
