"""Nodes of a preprocessing graph, made one call at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxq.graph.qdq import GraphEditor

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["GraphOps", "Operand"]

Operand: TypeAlias = ir.Value | npt.NDArray[Any] | None


class GraphOps:
    """Calls such as ``ops("Add", x, y)`` add a named node in front of a given one."""

    def __init__(self, graph: ir.Graph, before: ir.Node, stem: str = "preprocess") -> None:
        """Prepares to add nodes to ``graph``.

        Args:
            graph: Where nodes and constants go.
            before: A node of it; all new ones come to stand in front of it, in order.
            stem: Start of all names.
        """
        self._editor = GraphEditor(graph)
        self._before = before
        self._stem = stem

    def __call__(
        self,
        op_type: str,
        *inputs: Operand,
        dtype: ir.DataType | None = None,
        **attributes: Any,  # noqa: ANN401 - any attribute type
    ) -> ir.Value:
        """Adds a node and returns its output.

        Args:
            op_type: A standard operator with one output.
            *inputs: Values, arrays that become constants, or None for an absent input.
            dtype: Of the output; default is that of the first input.
            **attributes: By name.
        """
        values = [self._value(operand) for operand in inputs]
        first = next(value for value in values if value is not None)
        kind = dtype or first.dtype
        assert kind is not None, "all values here are typed"
        return self._editor.node(
            op_type,
            values,
            stem=f"{self._stem}_{op_type.lower()}",
            dtype=kind,
            shape=None,
            attributes=attributes,
            before=self._before,
        )

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Returns ``value`` in another element type."""
        return value if value.dtype == dtype else self("Cast", value, dtype=dtype, to=dtype.value)

    def transpose(self, value: ir.Value, perm: Iterable[int]) -> ir.Value:
        """Returns ``value`` with its axes in the order ``perm``."""
        return self("Transpose", value, perm=list(perm))

    def _value(self, operand: Operand) -> ir.Value | None:
        if isinstance(operand, np.ndarray):
            return self._editor.constant(f"{self._stem}_constant", operand)
        return operand
