"""Constants that are multiplied along where their neighbours carry factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.edit import replace_weight
from onnxq.graph.query import weight_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

__all__ = ["FactoredConstant"]


class FactoredConstant(NamedTuple):
    """A constant that has to be multiplied along.

    Attributes:
        node: What reads it.
        position: Which of its inputs the constant is.
        carries: Number of each feature's factor, -1 for none; int64, of a shape that broadcasts
            against the constant's without changing what the node computes.
    """

    node: ir.Node
    position: int
    carries: Indices

    def scaled(self, factors: Array) -> Array:
        """Returns it times its ``factors``, of which the last stands for none; float64."""
        old = weight_of(self.node.inputs[self.position])
        assert old is not None
        return np.asarray(old.astype(np.float64) * factors[self.carries])

    def holds(self, array: Array) -> bool:
        """Returns whether the constant's dtype has room for ``array``."""
        old = weight_of(self.node.inputs[self.position])
        assert old is not None
        with np.errstate(over="ignore"):
            return bool(np.isfinite(array.astype(old.dtype)).all())

    def write(self, array: Array) -> None:
        """Gives the node this constant, of its own if others read the old one."""
        old = weight_of(self.node.inputs[self.position])
        assert old is not None
        replace_weight(self.node, self.position, array.astype(old.dtype))
