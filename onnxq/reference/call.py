"""One node about to be computed: its inputs as arrays, its attributes, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxq.errors import ModelError
from onnxq.reference.integers import Array, is_integer, limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

__all__ = ["Call", "Kernel", "UnsupportedError"]


class UnsupportedError(ModelError):
    """The reference has no arithmetic for a node, which says nothing about the model."""


class Call:
    """A node and the arrays it reads.

    Attributes:
        node: The node.
    """

    def __init__(self, node: ir.Node, inputs: Sequence[Array | None]) -> None:
        self.node = node
        self._inputs = tuple(inputs)

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says what is wrong with the node or its inputs."""
        return ModelError(f"{self._where}: {reason}")

    def unsupported(self, reason: str) -> UnsupportedError:
        """Returns the error that says what the reference does not do."""
        return UnsupportedError(f"{self._where}: {reason}")

    @property
    def _where(self) -> str:
        domain, operator = self.node.domain, self.node.op_type
        return f"node '{self.node.name}' ({f'{domain}:{operator}' if domain else operator})"

    # What it reads.

    def x(self, position: int = 0) -> Array:
        """Returns an input that the node must have."""
        found = self.optional(position)
        if found is None:
            raise self.refusal(f"input {position} is missing")
        return found

    def optional(self, position: int) -> Array | None:
        """Returns an input; None if the node does not have it."""
        return self._inputs[position] if position < len(self._inputs) else None

    def all(self) -> list[Array]:
        """Returns the inputs of a node that takes any number of them."""
        return [self.x(position) for position in range(len(self._inputs))]

    def integers(self, position: int = 0) -> Array:
        """Returns an input that must hold integers."""
        array = self.x(position)
        if not is_integer(array.dtype):
            raise self.unsupported(
                f"its input {position} is {array.dtype}, and what floats add up to depends on "
                "the order; only integers are computed here"
            )
        return array

    def number(self, name: str, default: int = 0) -> int:
        """Returns an integer attribute."""
        return self.node.attributes.get_int(name, default)

    def text(self, name: str, default: str) -> str:
        """Returns a text attribute."""
        return self.node.attributes.get_string(name, default)

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """Returns an attribute of several integers; None if it is absent."""
        found = self.node.attributes.get_ints(name)
        return None if found is None else tuple(found)

    def listed(self, name: str, position: int) -> tuple[int, ...] | None:
        """Returns integers that are an attribute in older opsets and an input in newer ones."""
        found = self.optional(position)
        if found is None:
            return self.numbers(name)
        return tuple(int(number) for number in found.reshape(-1))

    def axis(self, rank: int, default: int = 0) -> int:
        """Returns the attribute ``axis``, counted from the front."""
        return self.front(self.number("axis", default), rank)

    def front(self, axis: int, rank: int) -> int:
        """Returns an axis counted from the front; refuses one that is not there."""
        if not -rank <= axis < rank:
            raise self.refusal(f"there is no axis {axis} among {rank}")
        return axis % rank

    # What it makes.

    def fit(self, result: Array, dtype: np.dtype[Any]) -> Array:
        """Returns an exact integer result in its type.

        Args:
            result: Integers in a type that holds them: int64, float64 or object.
            dtype: The type that the node's output has.

        Raises:
            ModelError: One does not fit, which every runtime makes something else of.
        """
        least, greatest = limits(dtype)
        if result.size:
            low, high = int(result.min()), int(result.max())
            if low < least or high > greatest:
                wrong = low if low < least else high
                at = np.argwhere(result == wrong)[0].tolist()
                raise self.refusal(f"the result {wrong} at {at} does not fit {dtype}")
        return result.astype(dtype)


Kernel: TypeAlias = Callable[[Call], Array | tuple[Array, ...]]
"""Computes the outputs of a node: one array, or all of several."""
