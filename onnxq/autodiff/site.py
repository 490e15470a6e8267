"""One node in the backward walk, and the words in which rules are written.

A rule gets a :class:`Site` and the cotangent of the node's first output, and returns cotangents of
inputs by position. Everything that it emits is itself an operator that has a rule, so that a
gradient has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.query import shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    from onnxq.autodiff.emitter import Emitter

    Shape = tuple[int, ...]

__all__ = ["Grads", "Rule", "Site"]

Grads: TypeAlias = Mapping[int, ir.Value]
"""Input position → cotangent, of the input's shape."""


class Site:
    """A node whose outputs have cotangents and whose inputs want them.

    Attributes:
        node: A node of a model that :func:`onnxq.autodiff.specialize.specialize` has made: shapes
            of all values are known.
        cotangents: One per output; None where nothing arrives.
        needs: Positions of the inputs that lie on a path from what is differentiated by.
        dtype: That of the cotangents, the same for all of them.
    """

    def __init__(
        self,
        node: ir.Node,
        emitter: Emitter,
        cotangents: Sequence[ir.Value | None],
        needs: Collection[int],
    ) -> None:
        self.node = node
        self.cotangents = tuple(cotangents)
        self.needs = frozenset(needs)
        arrived = next(value for value in cotangents if value is not None)
        assert arrived.dtype is not None, "cotangents are emitted with their dtype"
        self.dtype: ir.DataType = arrived.dtype
        self._emitter = emitter

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says why there is no gradient here."""
        return ModelError(f"node '{self.node.name}' ({self.node.op_type}): {reason}")

    def each(self, *makers: Callable[[], ir.Value] | None) -> Grads:
        """Makes the cotangents of those inputs that need one.

        Args:
            makers: One per input; None for an input that never has a cotangent.
        """
        made = enumerate(makers)
        return {i: make() for i, make in made if make is not None and i in self.needs}

    # What is known of the node.

    def input(self, position: int) -> ir.Value | None:
        """Returns an input; None if the node does not have it."""
        return self.node.inputs[position] if position < len(self.node.inputs) else None

    def x(self, position: int = 0) -> ir.Value:
        """Returns an input that the node must have."""
        value = self.input(position)
        assert value is not None, f"{self.node.op_type} has an input {position}"
        return value

    def holds_codes(self, position: int) -> bool:
        """Says whether an input holds integers, whose cotangents are floats."""
        dtype = self.x(position).dtype
        return dtype is not None and not dtype.is_floating_point()

    @property
    def y(self) -> ir.Value:
        """The first output."""
        return self.node.outputs[0]

    def shape(self, value: ir.Value) -> Shape:
        """Returns the shape of a value of the forward graph."""
        shape = shape_of(value) or ()
        return tuple(0 if dim is None else dim for dim in shape)

    def weight(self, position: int, what: str) -> npt.NDArray[Any] | None:
        """Returns the data of an input that has to be constant; None if it is absent.

        Raises:
            ModelError: It is computed.
        """
        value = self.input(position)
        if value is None:
            return None
        data = weight_of(value)
        if data is None:
            raise self.refusal(f"its {what} depend on the data, for which there is no gradient")
        return data

    def ints_attribute(self, name: str, default: Sequence[int] | None = None) -> Shape | None:
        """Returns an attribute of several integers."""
        found = self.node.attributes.get_ints(name, default)
        return None if found is None else tuple(found)

    def axis(self, rank: int, default: int) -> int:
        """Returns the attribute ``axis``, counted from the front."""
        return self.node.attributes.get_int("axis", default) % max(rank, 1)

    # What a rule emits.

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        dtype: ir.DataType | None = None,
        **attributes: Any,  # noqa: ANN401 (whatever the operator has)
    ) -> ir.Value:
        """Emits a node with one output, of the cotangents' dtype unless another is given."""
        return self.ops(op_type, inputs, [dtype or self.dtype], **attributes)[0]

    def ops(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        dtypes: Sequence[ir.DataType],
        **attributes: Any,  # noqa: ANN401 (whatever the operator has)
    ) -> list[ir.Value]:
        """Emits a node with one output per dtype."""
        given = {name: value for name, value in attributes.items() if value is not None}
        stem = f"{self.node.name}_grad"
        return self._emitter.nodes(op_type, inputs, dtypes, given, stem=stem)

    def array(self, array: npt.ArrayLike) -> ir.Value:
        """Returns a constant in the cotangents' dtype."""
        return self._emitter.constant(np.asarray(array, self.dtype.numpy()))

    def ints(self, *values: int) -> ir.Value:
        """Returns a constant int64 vector."""
        return self._emitter.constant(np.asarray(values, np.int64))

    def indices(self, array: npt.NDArray[Any]) -> ir.Value:
        """Returns a constant int64 array."""
        return self._emitter.constant(np.asarray(array, np.int64))

    def add(self, a: ir.Value, b: ir.Value | float) -> ir.Value:
        """Emits a + b."""
        return self.op("Add", a, self._operand(b))

    def sub(self, a: ir.Value | float, b: ir.Value | float) -> ir.Value:
        """Emits a - b."""
        return self.op("Sub", self._operand(a), self._operand(b))

    def mul(self, a: ir.Value, b: ir.Value | float) -> ir.Value:
        """Emits a · b; nothing if b is 1."""
        return a if isinstance(b, float) and b == 1 else self.op("Mul", a, self._operand(b))

    def div(self, a: ir.Value | float, b: ir.Value | float) -> ir.Value:
        """Emits a / b."""
        return self.op("Div", self._operand(a), self._operand(b))

    def mask(self, comparison: str, a: ir.Value, b: ir.Value | float) -> ir.Value:
        """Emits 1 where ``comparison`` holds and 0 elsewhere, as a factor: Where is 10x slower."""
        dtype = a.dtype or self.dtype
        other = b
        if not isinstance(other, ir.Value):
            other = self._emitter.constant(np.asarray(b, dtype.numpy()))
        return self.as_factor(self.op(comparison, a, other, dtype=ir.DataType.BOOL))

    def as_factor(self, condition: ir.Value) -> ir.Value:
        """Emits 1 and 0 for a boolean value."""
        return self.op("Cast", condition, to=self.dtype)

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """Emits a Reshape to a shape without 0 and -1."""
        return self.op("Reshape", value, self.ints(*shape), dtype=value.dtype)

    def transpose(self, value: ir.Value, order: Sequence[int]) -> ir.Value:
        """Emits a Transpose, unless the order stays."""
        if list(order) == sorted(order):
            return value
        return self.op("Transpose", value, dtype=value.dtype, perm=list(order))

    def sum(self, value: ir.Value, axes: Sequence[int], *, keep: bool = False) -> ir.Value:
        """Emits a sum over axes; nothing if there are none."""
        if not axes:
            return value
        return self.op("ReduceSum", value, self.ints(*axes), keepdims=int(keep))

    def expand(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """Emits an Expand to exactly ``shape``."""
        return self.op("Expand", value, self.ints(*shape))

    def zeros(self, shape: Sequence[int]) -> ir.Value:
        """Emits zeros."""
        filler = ir.tensor(np.zeros(1, self.dtype.numpy()))
        return self.op("ConstantOfShape", self.ints(*shape), value=filler)

    def fit(self, value: ir.Value, position: int) -> ir.Value:
        """Sums a value of the first output's shape down to the shape of a broadcast input."""
        return self.fit_shape(value, self.shape(self.y), self.shape(self.x(position)))

    def fit_shape(self, value: ir.Value, source: Shape, wanted: Shape) -> ir.Value:
        """Sums ``value`` of shape ``source`` down to ``wanted``, which broadcasts to it."""
        lead = len(source) - len(wanted)
        inner = [lead + i for i, n in enumerate(wanted) if n == 1 and source[lead + i] != 1]
        if not inner:
            return self.sum(value, range(lead))
        total = self.sum(value, [*range(lead), *inner], keep=True)
        return self.reshape(total, wanted) if lead else total

    def flat_to(self, value: ir.Value, shape: Shape) -> ir.Value:
        """Emits a Reshape to ``shape``, which may have no axes and no elements."""
        if math.prod(shape) == 0:
            return self.zeros(shape)
        return self.reshape(value, shape)

    def _operand(self, operand: ir.Value | float) -> ir.Value:
        return operand if isinstance(operand, ir.Value) else self.array(operand)


Rule: TypeAlias = Callable[[Site, ir.Value], Grads]
"""Cotangents of a node's inputs from that of its first output."""
