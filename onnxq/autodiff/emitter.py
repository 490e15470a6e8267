"""Nodes and constants appended to a graph under fresh names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxq.graph.edit import add_initializer
from onnxq.graph.names import Names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["Emitter"]

# Equal constants of at most so many elements are one.
_SHARED = 64


class Emitter:
    """Appends to the end of a graph, whose order stays one in which its nodes can run."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.names = Names(graph)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        dtypes: Sequence[ir.DataType],
        attributes: Mapping[str, Any],
        *,
        stem: str,
    ) -> list[ir.Value]:
        """Adds a node with one output per dtype and returns its outputs.

        Args:
            op_type: A standard operator.
            inputs: What it reads.
            dtypes: Those of its outputs.
            attributes: Python values by name.
            stem: Start of the names of the node and its outputs.
        """
        name = self.names.fresh(f"{stem}_{op_type}")
        outputs = [ir.val(self.names.fresh(f"{name}_out"), dtype) for dtype in dtypes]
        self.graph.append(ir.node(op_type, inputs, attributes, outputs=outputs, name=name))
        return outputs

    def constant(self, array: npt.NDArray[Any]) -> ir.Value:
        """Returns a weight that holds ``array``; equal small arrays share one."""
        if array.size > _SHARED:
            return add_initializer(self.graph, "constant", array, names=self.names)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            stem = f"constant_{array.reshape(-1)[0]}" if array.size == 1 else "constant"
            self._constants[key] = add_initializer(self.graph, stem, array, names=self.names)
        return self._constants[key]
