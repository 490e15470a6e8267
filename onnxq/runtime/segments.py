"""A model run piece by piece over a small batch, so that it can be changed on the way.

The nodes are cut into consecutive segments in topological order. A segment runs over all samples
before the next one starts; only values that later segments read are kept. Every node runs exactly
once per sample, without optimizations; what is made of weights alone is made anew by every segment
that reads it, lest each sample holds a copy of it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import read_values
from onnxq.runtime.pieces import Piece, copied
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    Samples = Sequence[Mapping[str, npt.NDArray[Any]]]

__all__ = ["LayerInputs", "SegmentedRun", "affordable_samples", "bytes_held", "uncut"]


def uncut(model: ir.Model) -> str | None:
    """Returns why ``model`` cannot be run in segments; None if it can."""
    if any(True for _ in model.graph.subgraphs()):
        return "layers cannot be run one by one around If and Loop"
    return None


def affordable_samples(
    shapes: Iterable[tuple[int, ...]], budget: int, models: int, least: int, most: int
) -> int:
    """Returns how many samples to hold: about three values of the largest size live at a time.

    Args:
        shapes: Of the values of one sample, float32 each.
        budget: Bytes.
        models: Number of models that run side by side.
        least: Fewest samples, whatever they take.
        most: Most samples.
    """
    largest = max((math.prod(shape) for shape in shapes), default=1)
    return min(max(budget // (models * 3 * 4 * max(largest, 1)), least), most)


def bytes_held(
    model: ir.Model, layers: Collection[str], shapes: Mapping[str, tuple[int, ...]]
) -> int:
    """Returns how many bytes of one sample :class:`LayerInputs` keeps, where they are most.

    Args:
        model: Topologically sorted, without subgraphs.
        layers: Names of the nodes that are shown.
        shapes: Of the values of one sample, float32 each; others do not count.
    """
    nodes = list(model.graph)
    fronts = [at for at, node in enumerate(nodes) if node.name in layers]
    born = {str(out.name): at for at, node in enumerate(nodes) for out in node.outputs}
    last = {str(value.name): at for at, node in enumerate(nodes) for value in read_values(node)}
    change = np.zeros(len(fronts) + 1, np.int64)
    for name, at in last.items():
        if name in shapes:
            size = 4 * math.prod(shapes[name])
            change[bisect_right(fronts, born.get(name, -1))] += size
            change[bisect_right(fronts, at)] -= size
    return int(np.cumsum(change).max())


class _Segments:
    """Parts of a model that run one after the other.

    Args:
        model: Topologically sorted, without subgraphs. A weight that is replaced before a segment
            runs is seen by it.
        borders: Names of the nodes to cut at. Nothing runs that only serves what is behind the
            last of them.
        samples: One feed per sample.
        threads: Threads inside an operator.
        behind: Whether to cut behind these nodes, or in front of them.
    """

    def __init__(
        self,
        model: ir.Model,
        borders: Collection[str],
        samples: Samples,
        *,
        threads: int,
        behind: bool,
    ) -> None:
        self._model = model
        self._threads = threads
        self._live: list[dict[str, npt.NDArray[Any]]] = [dict(feed) for feed in samples]
        self._constant: dict[ir.Node, None] = {}
        self._borders: list[ir.Node] = []
        self._segments: list[list[ir.Node]] = [[]]
        for node in model.graph:
            if all(self._is_constant(value) for value in read_values(node)):
                self._constant[node] = None
                continue
            at = node.name in borders
            if at:
                self._borders.append(node)
            if at and not behind:
                self._segments.append([])
            self._segments[-1].append(node)
            if at and behind:
                self._segments.append([])
        self._segments[-1] = [] if behind else self._segments[-1][:1]
        self._last = {
            str(value.name): number
            for number, nodes in enumerate(self._segments)
            for node in nodes
            for value in read_values(node)
        }

    def _is_constant(self, value: ir.Value) -> bool:
        producer = value.producer()
        return value.const_value is not None or (
            producer is not None and producer in self._constant
        )

    def _run(self, number: int, wanted: Sequence[str] = ()) -> None:
        """Runs a segment over all samples; ``wanted`` are kept beside what later ones read."""
        nodes = self._segments[number]
        if not nodes:
            return
        inputs, outputs = self._border(number, nodes, wanted)
        every = tuple(self._with_constants(nodes))
        piece = copied(Piece(self._model, every, tuple(inputs), tuple(outputs)))
        model = ir.Model(piece, ir_version=self._model.ir_version)
        session = make_session(model, optimize=False, threads=self._threads)
        for live in self._live:
            live.update(session.run({name: live[name] for name in inputs}))
            for name in inputs:
                self._forget(live, name, number)

    def _forget(self, live: dict[str, npt.NDArray[Any]], name: str, number: int) -> None:
        """Drops a value that no segment behind ``number`` reads."""
        if self._last.get(name, -1) <= number:
            del live[name]

    def _with_constants(self, nodes: list[ir.Node]) -> list[ir.Node]:
        """Returns the nodes behind those that make what they read of weights alone."""
        found: set[ir.Node] = set()
        pending = [value for node in nodes for value in read_values(node)]
        while pending:
            producer = pending.pop().producer()
            if producer is not None and producer in self._constant and producer not in found:
                found.add(producer)
                pending += read_values(producer)
        return [*(node for node in self._constant if node in found), *nodes]

    def _border(
        self, number: int, nodes: list[ir.Node], wanted: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Returns the names that the segment reads from before it, and those it has to write."""
        here = set(nodes)
        inputs: dict[str, None] = {}
        outputs = dict.fromkeys(wanted)
        for node in nodes:
            for value in read_values(node):
                if not self._is_constant(value) and value.producer() not in here:
                    inputs[str(value.name)] = None
            for value in node.outputs:
                if self._last.get(str(value.name), -1) > number:
                    outputs[str(value.name)] = None
        return list(inputs), list(outputs)


class SegmentedRun(_Segments):
    """Runs a model up to each of some nodes, whose outputs may be changed.

    Args:
        model: Topologically sorted, without subgraphs; never changed.
        ends: Names of the nodes.
        samples: One feed per sample.
        threads: Threads inside an operator.
    """

    def __init__(
        self, model: ir.Model, ends: Collection[str], samples: Samples, *, threads: int = 1
    ) -> None:
        super().__init__(model, ends, samples, threads=threads, behind=True)

    def __iter__(self) -> Iterator[tuple[str, list[npt.NDArray[Any]]]]:
        """Yields (name of the end node, its output per sample); edits to the list are used on."""
        for number, end in enumerate(self._borders):
            value = str(end.outputs[0].name)
            self._run(number, [value])
            outputs = [live[value] for live in self._live]
            yield str(end.name), outputs
            for live, output in zip(self._live, outputs, strict=True):
                live[value] = output
                self._forget(live, value, number)


class LayerInputs(_Segments):
    """Runs a model up to the front of each of some nodes, and shows what they read.

    Args:
        model: Topologically sorted, without subgraphs. Nodes that were shown, and those behind
            them, may be given other weights.
        layers: Names of the nodes.
        samples: One feed per sample.
        threads: Threads inside an operator.
    """

    def __init__(
        self, model: ir.Model, layers: Collection[str], samples: Samples, *, threads: int = 1
    ) -> None:
        super().__init__(model, layers, samples, threads=threads, behind=False)

    def __iter__(self) -> Iterator[tuple[ir.Node, list[npt.NDArray[Any]]]]:
        """Yields (node, its first input per sample)."""
        for number, layer in enumerate(self._borders):
            self._run(number)
            name = str(layer.inputs[0].name)  # type: ignore[union-attr]
            yield layer, [live[name] for live in self._live]
