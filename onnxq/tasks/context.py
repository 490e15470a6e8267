"""What a model says of its task beside its outputs: metadata and operators."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from onnxq.graph.query import is_op

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

__all__ = ["Context", "operator_behind"]

_DETECTORS = ("detect", "segment", "pose", "obb")
_MOVERS = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Context:
    """See the module.

    Attributes:
        size: Height and width of the picture that the model takes, in pixels; None = no picture.
        detector: Whether the metadata call it a detector (Ultralytics' key ``task``).
        classes: Number of classes that the metadata name (key ``names``); None if they do not.
        suppressed: Whether NonMaxSuppression is in the graph.
    """

    size: tuple[int, int] | None = None
    detector: bool = False
    classes: int | None = None
    suppressed: bool = False

    @classmethod
    def of(cls, model: ir.Model, input_shape: Sequence[int] | None) -> Self:
        """Reads a model.

        Args:
            model: The model as it was given.
            input_shape: Shape of what is fed to it; None = unknown.
        """
        metadata = model.metadata_props
        return cls(
            size=_picture(input_shape),
            detector=metadata.get("task") in _DETECTORS,
            classes=_count(metadata.get("names", "")),
            suppressed=any(
                is_op(node, "NonMaxSuppression") for graph in model.graphs() for node in graph
            ),
        )


def operator_behind(value: ir.Value) -> str | None:
    """Returns the operator that made a value, behind what only moves numbers; None if none did."""
    node = value.producer()
    while node is not None and is_op(node, *_MOVERS) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return None if node is None else node.op_type


def _picture(shape: Sequence[int] | None) -> tuple[int, int] | None:
    """Height and width of [batch, channels, h, w] or [batch, h, w, channels]."""
    if shape is None or len(shape) != 4:
        return None
    last = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
    return (shape[1], shape[2]) if last else (shape[2], shape[3])


def _count(names: str) -> int | None:
    """Ultralytics writes ``{0: 'person', 1: 'bicycle'}`` or a list."""
    try:
        listed = ast.literal_eval(names)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return len(listed) if isinstance(listed, dict | list | tuple) and listed else None
