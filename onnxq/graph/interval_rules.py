"""The interval of what a node computes from integers, operator by operator.

Constants make the channels of products and sums differ, and intervals keep that apart; operators
that move numbers about take the hull.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.intervals import Interval, UnprovenError
from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute
from onnxq.numerics.accumulators import product_bounds
from onnxq.numerics.pairs import pair_excess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt

    Ends = npt.NDArray[np.object_]
    Rule = Callable[["Known"], Interval]

__all__ = ["MOVES", "RULES", "Known"]

_PAIR_BOUND = 32767


class Known:
    """What is known of a node's inputs.

    Attributes:
        node: The node.
    """

    def __init__(self, node: ir.Node, found: Mapping[ir.Value, Interval]) -> None:
        self.node = node
        self._found = found

    def input(self, position: int) -> Interval:
        """Returns the interval of an input, constant or not."""
        value = self._value(position)
        constant = weight_of(value)
        if constant is not None:
            return Interval.of(constant.astype(object), constant.astype(object))
        if value not in self._found:
            raise UnprovenError(f"'{value.name}' is not computed from integers")
        return self._found[value]

    def constant(self, position: int, default: int | None = None) -> npt.NDArray[Any]:
        """Returns a constant input; ``default`` where there is none."""
        given = self.node.inputs[position] if len(self.node.inputs) > position else None
        if given is None and default is not None:
            return np.asarray(default)
        found = weight_of(given)
        if found is None:
            raise UnprovenError(f"input {position} is no constant")
        return found

    def dims(self, position: int) -> tuple[int | None, ...]:
        """Returns the dimensions of an input."""
        found = shape_of(self._value(position))
        if found is None:
            raise UnprovenError(f"the shape of '{self._value(position).name}' is not known")
        return found

    def all(self) -> list[Interval]:
        """Returns the intervals of all inputs."""
        return [self.input(position) for position in range(len(self.node.inputs))]

    def _value(self, position: int) -> ir.Value:
        value = self.node.inputs[position] if len(self.node.inputs) > position else None
        if value is None:
            raise UnprovenError(f"input {position} is missing")
        return value


def _corners(known: Known, combine: Callable[[Any, Any], Any]) -> Interval:
    a, b = known.input(0), known.input(1)
    made = [combine(x, y) for x in a for y in b]
    low, high = made[0], made[0]
    for other in made[1:]:
        low, high = np.minimum(low, other), np.maximum(high, other)
    return Interval.of(low, high)


def _add(known: Known) -> Interval:
    a, b = known.input(0), known.input(1)
    return Interval.of(a.low + b.low, a.high + b.high)


def _sub(known: Known) -> Interval:
    a, b = known.input(0), known.input(1)
    return Interval.of(a.low - b.high, a.high - b.low)


def _mul(known: Known) -> Interval:
    return _corners(known, lambda x, y: x * y)


def _div(known: Known) -> Interval:
    divisor = known.input(1)
    if divisor.least <= 0:
        raise UnprovenError("its divisor may be 0 or negative")
    return _corners(known, _quotient)


def _quotient(x: Ends, y: Ends) -> Ends:
    """Returns x / y rounded towards 0, as ONNX divides integers."""
    return np.asarray(np.where(np.less(x, 0), -(-x // y), x // y), object)


def _shift(known: Known) -> Interval:
    bits = known.constant(1)
    if attribute(known.node, "direction", "") == "LEFT":
        return _corners(known, lambda x, y: x * 2**y)
    dtype = known.node.inputs[0].dtype  # type: ignore[union-attr]
    assert dtype is not None
    if int(bits.max(initial=0)) >= dtype.itemsize * 8:
        raise UnprovenError("it shifts by more bits than there are")
    return _corners(known, lambda x, y: x // 2**y)


def _extreme(known: Known, pick: Callable[[Any, Any], Any]) -> Interval:
    low, high = known.input(0)
    for other in known.all()[1:]:
        low, high = pick(low, other.low), pick(high, other.high)
    return Interval.of(low, high)


def _clip(known: Known) -> Interval:
    low, high = known.input(0)
    for position, pick in ((1, np.maximum), (2, np.minimum)):
        if len(known.node.inputs) > position and known.node.inputs[position] is not None:
            bound = int(known.constant(position))
            low, high = pick(low, bound), pick(high, bound)
    return Interval.of(low, high)


def _relu(known: Known) -> Interval:
    low, high = known.input(0)
    return Interval.of(np.maximum(low, 0), np.maximum(high, 0))


def _transpose(known: Known) -> Interval:
    given = known.input(0)
    perm = attribute(known.node, "perm", None)
    if not given.low.ndim or perm is None:
        return given.hull()
    shape = (1,) * (len(perm) - given.low.ndim) + given.low.shape
    low, high = (end.reshape(shape).transpose(perm) for end in given)
    return Interval.of(low, high)


def _reduce_sum(known: Known) -> Interval:
    dims = known.dims(0)
    axes = [int(axis) for axis in known.constant(1)] if len(known.node.inputs) > 1 else []
    sizes = [dims[axis] for axis in axes or range(len(dims))]
    if None in sizes:
        raise UnprovenError("the number of elements that it adds up is not known")
    count = math.prod(size or 0 for size in sizes)
    given = known.input(0).hull()
    return Interval.of(min(given.least * count, 0), max(given.greatest * count, 0))


def _reduce_extreme(known: Known) -> Interval:
    return known.input(0).hull()


def _gather(known: Known) -> Interval:
    found = known.input(0).hull()
    axis = int(attribute(known.node, "axis", 0))
    size, index = known.dims(0)[axis], known.input(1).hull()
    if size is None or index.least < -size or index.greatest >= size:
        raise UnprovenError(f"its indices may lie outside [0, {size})")
    return found


def _pad(known: Known) -> Interval:
    given, fill = known.input(0).hull(), int(known.constant(2, 0))
    return Interval.of(min(given.least, fill), max(given.greatest, fill))


def _concat(known: Known) -> Interval:
    parts = known.all()
    return Interval.of(min(p.least for p in parts), max(p.greatest for p in parts))


def _matmul(known: Known) -> Interval:
    left = _centred(known, 0, 2)
    right = weight_of(known.node.inputs[1])
    zero = int(known.constant(3, 0))
    if right is None:
        return _product_of_values(known, left, _centred(known, 1, 3))
    if right.ndim != 2:
        raise UnprovenError("its weight is no matrix")
    _pairs(known, right.T)
    rows = right.T.astype(np.int64) - zero
    return _summed(rows, left, (-1,))


def _conv(known: Known) -> Interval:
    weight = known.constant(1)
    if weight.dtype != np.uint8 or _dtype(known, 0) != ir.DataType.UINT8:
        raise UnprovenError("products other than u8 × u8 saturate on some machines")
    rows = weight.reshape(len(weight), -1).astype(np.int64) - int(known.constant(3, 0))
    return _summed(rows, _centred(known, 0, 2), (-1, *[1] * (weight.ndim - 2)))


def _centred(known: Known, position: int, zero: int) -> Interval:
    given, point = known.input(position).hull(), int(known.constant(zero, 0))
    # what a convolution pads is 0
    return Interval.of(min(given.least - point, 0), max(given.greatest - point, 0))


def _summed(rows: npt.NDArray[np.int64], x: Interval, shape: tuple[int, ...]) -> Interval:
    low, high = product_bounds(rows, x.least, x.greatest)
    return Interval.of(low.astype(object).reshape(shape), high.astype(object).reshape(shape))


def _product_of_values(known: Known, left: Interval, right: Interval) -> Interval:
    kinds = _dtype(known, 0), _dtype(known, 1)
    if kinds != (ir.DataType.UINT8, ir.DataType.UINT8):
        raise UnprovenError("products other than u8 × u8 saturate on some machines")
    length = known.dims(0)[-1] or known.dims(1)[-2]
    if length is None:
        raise UnprovenError("the number of products that it adds up is not known")
    corners = [a * b for a in (left.least, left.greatest) for b in (right.least, right.greatest)]
    return Interval.of(min(0, length * min(corners)), max(0, length * max(corners)))


def _pairs(known: Known, rows: npt.NDArray[Any]) -> None:
    """Machines without VNNI add neighbouring u8 × s8 products in 16 bits."""
    if _dtype(known, 0) != ir.DataType.UINT8:
        raise UnprovenError("products of signed numbers saturate on some machines")
    if rows.dtype != np.int8:
        return
    excess = pair_excess(rows, _PAIR_BOUND // max(known.input(0).greatest, 1))
    if excess.any():
        raise UnprovenError(
            f"pairs of products in column {int(excess.argmax())} saturate on machines without VNNI"
        )


def _dtype(known: Known, position: int) -> ir.DataType | None:
    value = known.node.inputs[position]
    return None if value is None else value.dtype


RULES: Mapping[str, Rule] = {
    "Add": _add,
    "BitShift": _shift,
    "Cast": lambda known: known.input(0),
    "Clip": _clip,
    "Concat": _concat,
    "ConvInteger": _conv,
    "Div": _div,
    "Gather": _gather,
    "GreaterOrEqual": lambda _: Interval.of(0, 1),
    "MatMulInteger": _matmul,
    "Max": lambda known: _extreme(known, np.maximum),
    "Min": lambda known: _extreme(known, np.minimum),
    "Mul": _mul,
    "Pad": _pad,
    "ReduceMax": _reduce_extreme,
    "ReduceMin": _reduce_extreme,
    "ReduceSum": _reduce_sum,
    "Relu": _relu,
    "Sub": _sub,
    "Transpose": _transpose,
}
"""Operator → the interval of its output."""


def _same(names: Iterable[str]) -> dict[str, Rule]:
    return dict.fromkeys(names, lambda known: known.input(0).hull())


MOVES = _same(
    (
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Identity",
        "MaxPool",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Unsqueeze",
    )
)
"""Operators that move numbers about or pick among them; their outputs hold nothing new."""
