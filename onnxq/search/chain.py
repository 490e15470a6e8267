"""A model as a chain of segments, each a session, with its params fed.

The nodes are cut in their order into segments of about equal work. What a later segment reads of
earlier ones is the state at the cut between them; from a state the rest of the chain can be run
without what comes before. A cut moves to where the state is small, if one is near.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

from onnxq.graph.query import read_values
from onnxq.runtime.pieces import Piece, PieceFinder, copied
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onnxq.runtime.session import Feed, Session

__all__ = ["Chain", "Segment", "State"]

State: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Value name → array of all that later segments read; inputs of the model are not among it."""

# Work of an operator for each number it writes, in multiply-accumulates.
_PER_ELEMENT = 16
# Share of a segment's work by which a cut may move to a smaller state.
_SLACK = 0.5


@dataclass(frozen=True)
class Segment:
    """Some consecutive nodes.

    Attributes:
        session: Runs them.
        params: Names of the params among its inputs.
        keeps: Names of the values of earlier segments that later ones read, besides its outputs.
        work: Its share of the model's work.
    """

    session: Session
    params: tuple[str, ...]
    keeps: tuple[str, ...]
    work: float


class Chain:
    """Runs a model segment by segment.

    Attributes:
        segments: In order.
    """

    def __init__(
        self,
        model: ir.Model,
        params: Collection[str],
        sizes: Mapping[str, int],
        *,
        segments: int,
        threads: int = 1,
    ) -> None:
        """Cuts the model and makes the sessions.

        Args:
            model: Runs as it is, without optimizations; topologically sorted. Never changed.
            params: Names of the inputs that are params.
            sizes: Elements of the values, by name.
            segments: How many, at most.
            threads: Threads inside an operator.
        """
        self._params = set(params)
        outputs = [str(value.name) for value in model.graph.outputs]
        self._outputs = outputs
        made = [name for name in outputs if name not in _input_names(model)]
        nodes = PieceFinder(model).find(made, ()).nodes
        work = [_work(node, sizes) for node in nodes]
        last = _last_uses(nodes, outputs)
        cuts = _cuts(nodes, work, last, sizes, segments)
        self.segments: list[Segment] = []
        total = sum(work) or 1.0
        for start, stop in zip([0, *cuts], [*cuts, len(nodes)], strict=True):
            share = sum(work[start:stop]) / total
            self.segments.append(self._segment(model, nodes, (start, stop), last, share, threads))

    def run(
        self, number: int, feed: Feed, state: State, params: Mapping[str, npt.NDArray[Any]]
    ) -> State:
        """Runs one segment and returns the state behind it; behind the last, the outputs.

        Args:
            number: Of the segment.
            feed: Inputs of the model.
            state: What the segment before left; empty for the first.
            params: Name → array of all params.
        """
        segment = self.segments[number]
        inputs = {
            name: params[name] if name in self._params else state.get(name, feed.get(name))
            for name in segment.session.inputs
        }
        made = segment.session.run(inputs)  # type: ignore[arg-type]
        return {**{name: state[name] for name in segment.keeps}, **made}

    def outputs(self, feed: Feed, state: State) -> dict[str, npt.NDArray[Any]]:
        """Returns the model's outputs from the state behind the last segment."""
        return {name: state[name] if name in state else feed[name] for name in self._outputs}

    def _segment(  # noqa: PLR0913 (what the loop that calls it knows)
        self,
        model: ir.Model,
        nodes: Sequence[ir.Node],
        bounds: tuple[int, int],
        last: Mapping[str, int],
        work: float,
        threads: int,
    ) -> Segment:
        start, stop = bounds
        mine = nodes[start:stop]
        made = {str(value.name) for node in mine for value in node.outputs}
        reads = dict.fromkeys(
            str(value.name)
            for node in mine
            for value in read_values(node)
            if value.const_value is None and str(value.name) not in made
        )
        leaves = [
            str(value.name)
            for node in mine
            for value in node.outputs
            if value.name and last.get(str(value.name), -1) >= stop
        ]
        earlier = (str(value.name) for node in nodes[:start] for value in node.outputs)
        keeps = tuple(name for name in earlier if name and last.get(name, -1) >= stop)
        piece = copied(Piece(model, tuple(mine), tuple(reads), tuple(leaves)))
        session = make_session(
            ir.Model(piece, ir_version=model.ir_version),
            optimize=False,
            threads=threads,
            spin=False,
        )
        params = tuple(name for name in reads if name in self._params)
        return Segment(session, params, keeps, work)


def _input_names(model: ir.Model) -> set[str]:
    return {str(value.name) for value in model.graph.inputs}


def _work(node: ir.Node, sizes: Mapping[str, int]) -> float:
    """Returns about how much a node has to do."""
    written = sum(sizes.get(str(value.name), 0) for value in node.outputs)
    deepest = 0
    for value in node.inputs:
        tensor = value.const_value if value is not None else None
        if tensor is not None and len(tensor.shape) > 1:
            dims = tensor.shape.numpy()
            deepest = max(deepest, math.prod(dims) // max(dims[0], 1))
    return float(written * (_PER_ELEMENT + deepest))


def _last_uses(nodes: Sequence[ir.Node], outputs: Collection[str]) -> dict[str, int]:
    """Returns value name → position of the last node that reads it; outputs are read at the end."""
    last: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for value in read_values(node):
            last[str(value.name)] = number
    last.update(dict.fromkeys(outputs, len(nodes)))
    return last


def _cuts(
    nodes: Sequence[ir.Node],
    work: Sequence[float],
    last: Mapping[str, int],
    sizes: Mapping[str, int],
    segments: int,
) -> list[int]:
    """Returns the positions to cut in front of: the smallest state near each equal share."""
    states = _state_sizes(nodes, last, sizes)
    total, done = sum(work), 0.0
    reached = []
    for amount in work:
        reached.append(done)
        done += amount
    cuts: list[int] = []
    for part in range(1, segments):
        wanted, slack = total * part / segments, _SLACK * total / segments
        near = [
            at
            for at in range(cuts[-1] + 1 if cuts else 1, len(nodes))
            if abs(reached[at] - wanted) <= slack
        ]
        if near:
            cuts.append(min(near, key=lambda at: (states[at], at)))
    return cuts


def _state_sizes(
    nodes: Sequence[ir.Node], last: Mapping[str, int], sizes: Mapping[str, int]
) -> list[int]:
    """Returns the elements of the state in front of each node."""
    live, ends = 0, [0] * (len(nodes) + 1)
    found = []
    for number, node in enumerate(nodes):
        found.append(live)
        for value in node.outputs:
            name = str(value.name)
            if last.get(name, -1) > number:
                live += sizes.get(name, 0)
                ends[last[name]] += sizes.get(name, 0)
        live -= ends[number]
    return found
