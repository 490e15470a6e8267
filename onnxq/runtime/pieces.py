"""Parts of a model between chosen values, run on their own: as many as there are, in one session.

Pieces that run together are one model. Each has its own copy of its nodes, so that what one makes
never reaches another; inputs and weights are shared by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxq.graph.query import read_values
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from onnxq.runtime.session import Session

__all__ = ["Piece", "PieceFinder", "Pieces", "copied"]


@dataclass(frozen=True, eq=False)
class Piece:
    """The nodes that lead from some values to others.

    Attributes:
        model: What it is a part of.
        nodes: Its nodes, in the model's order.
        inputs: Names of the values that it starts from: chosen ones and the model's inputs.
        outputs: Names of the values that it computes.
    """

    model: ir.Model
    nodes: tuple[ir.Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class PieceFinder:
    """Finds pieces of one model; the time for each is that of its size."""

    def __init__(self, model: ir.Model) -> None:
        """Reads the model once.

        Args:
            model: Topologically sorted; never changed.
        """
        self._model = model
        self._order = {node: number for number, node in enumerate(model.graph)}
        self._makers = {str(value.name): node for node in self._order for value in node.outputs}

    def find(self, outputs: Sequence[str], stops: Collection[str]) -> Piece:
        """Returns the piece that computes ``outputs``.

        Args:
            outputs: Names of values that nodes produce.
            stops: Names of values that are not computed but fed. The outputs never count.
        """
        inputs: dict[str, None] = {}
        found: set[ir.Node] = set()
        pending = [self._makers[name] for name in outputs]
        while pending:
            node = pending.pop()
            if node in found:
                continue
            found.add(node)
            for value in read_values(node):
                name, producer = str(value.name), value.producer()
                stopped = name in stops and name not in outputs
                if stopped or (value.is_graph_input() and value.const_value is None):
                    inputs[name] = None
                elif producer is not None:
                    pending.append(producer)
        nodes = sorted(found, key=self._order.__getitem__)
        return Piece(self._model, tuple(nodes), tuple(inputs), tuple(outputs))


class Pieces:
    """Pieces of one model, ready to run without onnxruntime's optimizations."""

    def __init__(self, pieces: Sequence[Piece], *, threads: int = 1) -> None:
        """Notes the pieces; onnxruntime sees them at the first run.

        Args:
            pieces: Of the same model.
            threads: Threads inside an operator.
        """
        self._pieces, self._threads = pieces, threads
        self._inputs = list(dict.fromkeys(name for piece in pieces for name in piece.inputs))
        self._session: Session | None = None

    def run(self, fed: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, npt.NDArray[Any]]]:
        """Returns the outputs of each piece by name.

        Args:
            fed: Arrays by name for the inputs of all pieces; others are not looked at. Their dtypes
                are those of the model, and the same in every run.

        Raises:
            ModelError: onnxruntime refuses the pieces or the arrays.
        """
        if not self._pieces:
            return []
        arrays = {name: fed[name] for name in self._inputs}
        if self._session is None:
            model = _joined(self._pieces, arrays)
            self._session = make_session(model, optimize=False, threads=self._threads, spin=False)
        made = self._session.run(arrays)
        return [
            {name: made[_own(number, name)] for name in piece.outputs}
            for number, piece in enumerate(self._pieces)
        ]


def _own(number: int, name: str) -> str:
    """Returns what the value of a piece is called in the joined model."""
    return f"{number}/{name}"


def _joined(pieces: Sequence[Piece], fed: Mapping[str, npt.NDArray[Any]]) -> ir.Model:
    source = pieces[0].model
    inputs = {name: _input(name, array) for name, array in fed.items()}
    weights: dict[str, ir.Value] = {}
    nodes, outputs = [], []
    for number, piece in enumerate(pieces):
        copy = copied(piece)
        outputs += list(copy.outputs)
        for value in list(copy.inputs):
            ir.convenience.replace_all_uses_with(value, inputs[str(value.name)])
        for name, value in list(copy.initializers.items()):
            del copy.initializers[name]
            ir.convenience.replace_all_uses_with(value, weights.setdefault(name, value))
        made = list(copy)
        copy.outputs.clear()
        copy.remove(made)
        nodes += made
        for node in made:
            node.name = _own(number, node.name) if node.name else None
            for value in node.outputs:
                value.name = _own(number, value.name) if value.name else value.name
    graph = ir.Graph(
        list(inputs.values()),
        outputs,
        nodes=nodes,
        initializers=list(weights.values()),
        opset_imports=source.graph.opset_imports,
        name="pieces",
    )
    return ir.Model(graph, ir_version=source.ir_version)


def copied(piece: Piece) -> ir.Graph:
    """Returns the piece as a graph of its own, without recorded shapes at its ends."""
    values = {str(v.name): v for node in piece.nodes for v in (*read_values(node), *node.outputs)}
    view = ir.GraphView(
        [values[name] for name in piece.inputs],
        [values[name] for name in piece.outputs],
        nodes=piece.nodes,
        initializers=[v for v in values.values() if v.is_initializer() and not v.is_graph_input()],
        opset_imports=piece.model.graph.opset_imports,
        name="piece",
    )
    copy = view.clone()
    for value in copy.outputs:
        value.shape = None
    return copy


def _input(name: str, array: npt.NDArray[Any]) -> ir.Value:
    return ir.val(name, ir.DataType.from_numpy(array.dtype))
