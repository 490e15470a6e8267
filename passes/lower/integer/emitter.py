"""Integer nodes in front of the node that they replace, and how codes are read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.errors import PlanError
from onnxq.graph.qdq import GraphEditor
from onnxq.passbase import node_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["Codes", "Emitter", "Written"]


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes as a node reads them: x = scale · (code - zero).

    Attributes:
        value: uint8.
        scale: The one scale.
        zero: Zero point.
        limits: Least and greatest code.
        last: Whether channels are the last axis instead of the second.
    """

    value: ir.Value
    scale: float
    zero: int
    limits: tuple[int, int]
    last: bool

    def same_as(self, other: Written | Codes) -> bool:
        """Whether both describe the same map from codes to reals."""
        scales = np.float32(self.scale) == np.float32(other.scale)
        return bool(np.all(scales) and np.all(self.zero == other.zero)) and (
            self.limits == other.limits
        )


@dataclass(frozen=True, eq=False)
class Written:
    """How codes of a value are written.

    Attributes:
        scale: float64, [] or one per channel.
        zero: int64, the shape of ``scale``.
        limits: Least and greatest code.
    """

    scale: npt.NDArray[np.float64]
    zero: npt.NDArray[np.int64]
    limits: tuple[int, int]


class Emitter:
    """Adds integer nodes in front of the node that they replace.

    Attributes:
        editor: Of the graph.
        narrow: Whether rescaling prefers int32.
        node: The node that is being replaced.
    """

    def __init__(self, graph: ir.Graph, *, narrow: bool) -> None:
        self.editor = GraphEditor(graph)
        self.narrow = narrow
        self.node: ir.Node = next(iter(graph))

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        dtype: ir.DataType,
        stem: str,
        attributes: Mapping[str, Any] | None = None,
    ) -> ir.Value:
        """Adds a node with one output in front of the node that is being replaced."""
        return self.editor.node(
            op_type,
            inputs,
            stem=stem,
            dtype=dtype,
            shape=None,
            attributes=attributes,
            before=self.node,
        )

    def constant(self, stem: str, array: npt.ArrayLike, dtype: type[np.generic]) -> ir.Value:
        """Returns a constant."""
        return self.editor.constant(stem, np.asarray(array, dtype))

    def transposed(self, value: ir.Value, perm: Sequence[int], stem: str) -> ir.Value:
        """Adds a Transpose."""
        assert value.dtype is not None
        return self.op("Transpose", [value], value.dtype, stem, {"perm": list(perm)})

    def cast(self, value: ir.Value, dtype: ir.DataType, stem: str) -> ir.Value:
        """Adds a Cast, unless ``value`` is of that type."""
        if value.dtype == dtype:
            return value
        return self.op("Cast", [value], dtype, stem, {"to": int(dtype)})

    def refusal(self, reason: str) -> PlanError:
        """Returns the error that says why the node cannot be lowered."""
        return PlanError(
            f"node '{node_label(self.node)}' ({self.node.op_type}) has no integer form: {reason};"
            " name it in --keep-float, or use --format qdq"
        )
