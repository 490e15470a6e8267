"""A model run piece by piece over a small batch, so that values can be changed on the way.

The nodes are cut into consecutive segments in topological order, each ending at a chosen node. A
segment runs over all samples before the next one starts; only values that later segments read are
kept. Every node runs exactly once per sample, without optimizations; what is made of weights alone
is made anew by every segment that reads it, lest each sample holds a copy of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxq.graph.query import read_values
from onnxq.runtime.pieces import Piece, copied
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

__all__ = ["SegmentedRun"]


class SegmentedRun:
    """Runs a model over samples, segment by segment."""

    def __init__(
        self,
        model: ir.Model,
        ends: Iterable[str],
        samples: Sequence[Mapping[str, npt.NDArray[Any]]],
        *,
        threads: int = 1,
    ) -> None:
        """Prepares the segments.

        Args:
            model: Topologically sorted, without subgraphs; never changed.
            ends: Names of the nodes that segments end at. Nodes behind the last of them never run.
            samples: One feed per sample.
            threads: Threads inside an operator.
        """
        self._model = model
        self._threads = threads
        self._live: list[dict[str, npt.NDArray[Any]]] = [dict(feed) for feed in samples]
        wanted, segment = set(ends), []
        self._segments: list[list[ir.Node]] = []
        self._constant: dict[ir.Node, None] = {}
        for node in model.graph:
            if all(self._is_constant(value) for value in read_values(node)):
                self._constant[node] = None
                continue
            segment.append(node)
            if node.name in wanted:
                self._segments.append(segment)
                segment = []

    def __iter__(self) -> Iterator[tuple[str, list[npt.NDArray[Any]]]]:
        """Yields (name of the end node, its output per sample); edits to the list are used on."""
        for number, nodes in enumerate(self._segments):
            end = nodes[-1]
            value = str(end.outputs[0].name)
            self._run(number, nodes)
            outputs = [live[value] for live in self._live]
            yield str(end.name), outputs
            for live, output in zip(self._live, outputs, strict=True):
                live[value] = output
                if self._last_use(value) <= number:
                    del live[value]

    def _is_constant(self, value: ir.Value) -> bool:
        producer = value.producer()
        return value.const_value is not None or (
            producer is not None and producer in self._constant
        )

    def _with_constants(self, nodes: list[ir.Node]) -> list[ir.Node]:
        """Returns the nodes behind those that make what they read of weights alone."""
        found: dict[ir.Node, None] = {}
        pending = [value for node in nodes for value in read_values(node)]
        while pending:
            producer = pending.pop().producer()
            if producer is not None and producer in self._constant and producer not in found:
                found[producer] = None
                pending += read_values(producer)
        return [*(node for node in self._constant if node in found), *nodes]

    def _run(self, number: int, nodes: list[ir.Node]) -> None:
        inputs, outputs = self._border(number, nodes)
        every = tuple(self._with_constants(nodes))
        piece = copied(Piece(self._model, every, tuple(inputs), tuple(outputs)))
        model = ir.Model(piece, ir_version=self._model.ir_version)
        session = make_session(model, optimize=False, threads=self._threads)
        for live in self._live:
            live.update(session.run({name: live[name] for name in inputs}))
            for name in inputs:
                if self._last_use(name) <= number:
                    del live[name]

    def _border(self, number: int, nodes: list[ir.Node]) -> tuple[list[str], list[str]]:
        """Returns the names that the segment reads from before it, and those read after it."""
        here = {id(node) for node in nodes}
        inputs: dict[str, None] = {}
        outputs: dict[str, None] = {str(nodes[-1].outputs[0].name): None}
        for node in nodes:
            for value in read_values(node):
                if self._is_constant(value):
                    continue
                producer = value.producer()
                if producer is None or id(producer) not in here:
                    inputs[str(value.name)] = None
            for value in node.outputs:
                if self._last_use(str(value.name)) > number:
                    outputs[str(value.name)] = None
        return list(inputs), list(outputs)

    def _last_use(self, name: str) -> int:
        if not hasattr(self, "_last"):
            self._last: dict[str, int] = {}
            for number, nodes in enumerate(self._segments):
                for node in nodes:
                    for value in read_values(node):
                        self._last[str(value.name)] = number
        return self._last.get(name, -1)
