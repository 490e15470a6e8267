"""A part of a model between chosen values, run on its own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxq.graph.query import read_values
from onnxq.runtime.session import Session, make_session

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

__all__ = ["Piece"]


class Piece:
    """The nodes that lead from some values to others.

    Attributes:
        nodes: Its nodes, in the model's order.
        inputs: Names of the values that it starts from: chosen ones and the model's inputs.
        outputs: Names of the values that it computes.
    """

    def __init__(
        self, model: ir.Model, outputs: Sequence[str], stops: Collection[str], *, threads: int = 1
    ) -> None:
        """Finds the piece; onnxruntime sees it at the first run.

        Args:
            model: Topologically sorted; never changed.
            outputs: Names of values that its nodes produce.
            stops: Names of values that are not computed but fed. The outputs never count.
            threads: Threads inside an operator.
        """
        self._model, self._threads = model, threads
        self.outputs = tuple(outputs)
        stops = set(stops) - set(outputs)
        inputs: dict[str, None] = {}
        wanted, nodes = set(outputs), []
        for node in reversed(list(model.graph)):
            if wanted.isdisjoint(str(value.name) for value in node.outputs):
                continue
            nodes.append(node)
            for value in read_values(node):
                name = str(value.name)
                if name in stops or (value.is_graph_input() and value.const_value is None):
                    inputs[name] = None
                elif value.producer() is not None:
                    wanted.add(name)
        self.nodes = tuple(reversed(nodes))
        self.inputs = tuple(inputs)

    def run(self, fed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Returns its outputs for its inputs, without onnxruntime's optimizations.

        Args:
            fed: Arrays by name for all :attr:`inputs`; others are not looked at. Their dtypes are
                those of the model.

        Raises:
            ModelError: onnxruntime refuses the piece or the arrays.
        """
        self._dtypes = {name: fed[name].dtype for name in self.inputs}
        return self._session.run({name: fed[name] for name in self.inputs})

    @cached_property
    def _session(self) -> Session:
        graph = ir.convenience.extract(self._model.graph, self.inputs, self.outputs)
        for value in graph.inputs:
            dtype = ir.DataType.from_numpy(self._dtypes[str(value.name)])
            value.type, value.shape = ir.TensorType(dtype), None
        for value in graph.outputs:
            value.shape = None
        model = ir.Model(graph, ir_version=self._model.ir_version)
        return make_session(model, optimize=False, threads=self._threads)
