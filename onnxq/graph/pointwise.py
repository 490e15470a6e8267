"""Regions of pointwise nodes that compute a function of one number, and that function.

``x * Clip(x + 3, 0, 6) / 6`` is written in a dozen ways by as many exporters. Whatever the way, it
is a region of operators that work number by number, with constants of one element, that begins at
one value and ends at one value. Such a region is a function of one real number, which can be
evaluated and compared, so that no list of spellings is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onnxq.graph.query import is_graph_output, scalar_of, shape_of, weight_of

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Region", "gelu", "is_pointwise", "regions", "sigmoid"]

Array = npt.NDArray[np.float64]
Operands = Sequence[Array | None]

_LARGEST = 12


@dataclass(frozen=True, eq=False)
class Region:
    """A function of one number, spelled out in nodes.

    Attributes:
        source: The one value that it reads.
        target: The value that it computes.
        nodes: Its nodes, in an order in which they can run.
    """

    source: ir.Value
    target: ir.Value
    nodes: tuple[ir.Node, ...]

    def __call__(self, x: Array) -> Array:
        """Evaluates the function.

        Args:
            x: float64, any shape.

        Returns:
            float64, the same shape; inf and NaN where the nodes' arithmetic gives them.
        """
        known = {self.source: x}
        with np.errstate(all="ignore"):
            for node in self.nodes:
                inputs = [None if v is None else _operand(v, known) for v in node.inputs]
                result = _FUNCTIONS[node.domain, node.op_type](node, inputs)
                known[node.outputs[0]] = np.broadcast_to(result, x.shape)
        return known[self.target]

    @property
    def ops(self) -> tuple[str, ...]:
        """The types of its nodes, sorted."""
        return tuple(sorted(node.op_type for node in self.nodes))

    @property
    def constants(self) -> tuple[float, ...]:
        """The numbers that occur in it."""
        inputs = (scalar_of(value) for node in self.nodes for value in node.inputs)
        return tuple(number for number in inputs if number is not None)

    @property
    def dtype(self) -> ir.DataType | None:
        """The type of the numbers, as the source, the target or a constant has it."""
        inputs = (value for node in self.nodes for value in node.inputs if value is not None)
        known = (value.dtype for value in (self.source, self.target, *inputs))
        return next((dtype for dtype in known if dtype is not None), None)

    @property
    def leak(self) -> ir.Value | None:
        """A value inside that is also read outside or is a graph output; None without one."""
        inside = set(self.nodes)
        for node in self.nodes:
            value = node.outputs[0]
            outside = is_graph_output(value) or any(user not in inside for user, _ in value.uses())
            if outside and value is not self.target:
                return value
        return None


def is_pointwise(node: ir.Node | None) -> bool:
    """Says whether ``node`` works number by number on what is computed, and can be evaluated."""
    return (
        node is not None
        and (node.domain, node.op_type) in _FUNCTIONS
        and len(node.outputs) == 1
        and any(value is not None and scalar_of(value) is None for value in node.inputs)
    )


def regions(node: ir.Node, position: Mapping[ir.Node, int]) -> Iterator[Region]:
    """Yields the regions that end at ``node``, from the smallest to the largest.

    A region holds at most twelve nodes, and no constant that might widen the shape.

    Args:
        node: The node whose first output is the regions' target.
        position: Place of every node of the graph in topological order.
    """
    inside: list[ir.Node] = []
    border = {node.outputs[0]}

    def place(value: ir.Value) -> int:
        producer = value.producer()
        return -1 if producer is None else position[producer]

    while len(inside) < _LARGEST:
        value = max(border, key=place)
        producer = value.producer()
        if producer is None or not is_pointwise(producer):
            return
        inside.append(producer)
        border.discard(value)
        border |= {item for item in producer.inputs if item and scalar_of(item) is None}
        if any(weight_of(item) is not None for item in border):
            return
        if len(border) == 1:
            source = next(iter(border))
            if not _may_widen(source, inside):
                yield Region(source, node.outputs[0], tuple(reversed(inside)))


def _may_widen(source: ir.Value, nodes: Sequence[ir.Node]) -> bool:
    shape = shape_of(source)
    rank = 1 if shape is None else len(shape)
    weights = [weight_of(value) for node in nodes for value in node.inputs]
    return any(weight is not None and weight.ndim > rank for weight in weights)


def _operand(value: ir.Value, known: Mapping[ir.Value, Array]) -> Array:
    return known[value] if value in known else np.asarray(scalar_of(value), np.float64)


def _clip(_: ir.Node, inputs: Operands) -> Array:
    low, high = [*inputs[1:], None, None][:2]
    raised = _only(inputs) if low is None else np.maximum(_only(inputs), low)
    return raised if high is None else np.minimum(raised, high)


_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    """Returns 1 / (1 + exp(-x)), float64, the shape of ``x``."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x))


def gelu(x: Array, approximate: str = "none") -> Array:
    """Returns x · Φ(x), float64, the shape of ``x`` (Hendrycks and Gimpel, 2016).

    Args:
        x: float64, any shape.
        approximate: "none" for the error function, "tanh" for the paper's approximation.
    """
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return np.asarray(0.5 * x * (1.0 + np.tanh(inner)))
    return np.asarray(0.5 * x * (1.0 + _erf(x / math.sqrt(2))))


def _gelu_node(node: ir.Node, inputs: Operands) -> Array:
    return gelu(_only(inputs), node.attributes.get_string("approximate", "none") or "none")


def _hard_sigmoid(node: ir.Node, inputs: Operands) -> Array:
    alpha, beta = _number(node, "alpha", 0.2), _number(node, "beta", 0.5)
    return np.clip(alpha * _only(inputs) + beta, 0.0, 1.0)


def _leaky_relu(node: ir.Node, inputs: Operands) -> Array:
    x = _only(inputs)
    return np.where(x < 0, _number(node, "alpha", 0.01) * x, x)


def _swish(default: float) -> Callable[[ir.Node, Operands], Array]:
    def evaluate(node: ir.Node, inputs: Operands) -> Array:
        x = _only(inputs)
        return x * sigmoid(_number(node, "alpha", default) * x)

    return evaluate


def _number(node: ir.Node, name: str, default: float) -> float:
    value = node.attributes.get_float(name, default)
    return default if value is None else float(value)


def _only(inputs: Operands) -> Array:
    assert inputs[0] is not None
    return inputs[0]


def _unary(function: Callable[[Array], Array]) -> Callable[[ir.Node, Operands], Array]:
    return lambda _, inputs: function(_only(inputs))


def _folded(function: Callable[[Array, Array], Array]) -> Callable[[ir.Node, Operands], Array]:
    def evaluate(_: ir.Node, inputs: Operands) -> Array:
        result, *rest = [item for item in inputs if item is not None]
        for item in rest:
            result = function(result, item)
        return result

    return evaluate


_FUNCTIONS: dict[tuple[str, str], Callable[[ir.Node, Operands], Array]] = {
    ("", "Abs"): _unary(np.abs),
    ("", "Add"): _folded(np.add),
    ("", "Clip"): _clip,
    ("", "Div"): _folded(np.divide),
    ("", "Erf"): _unary(_erf),
    ("", "Exp"): _unary(np.exp),
    ("", "Gelu"): _gelu_node,
    ("", "HardSigmoid"): _hard_sigmoid,
    ("", "HardSwish"): _unary(lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0),
    ("", "LeakyRelu"): _leaky_relu,
    ("", "Log"): _unary(np.log),
    ("", "Max"): _folded(np.maximum),
    ("", "Min"): _folded(np.minimum),
    ("", "Mish"): _unary(lambda x: x * np.tanh(np.logaddexp(0.0, x))),
    ("", "Mul"): _folded(np.multiply),
    ("", "Neg"): _unary(np.negative),
    ("", "Pow"): _folded(np.power),
    ("", "Reciprocal"): _unary(np.reciprocal),
    ("", "Relu"): _unary(lambda x: np.maximum(x, 0.0)),
    ("", "Sigmoid"): _unary(sigmoid),
    ("", "Softplus"): _unary(lambda x: np.logaddexp(0.0, x)),
    ("", "Sqrt"): _unary(np.sqrt),
    ("", "Sub"): _folded(np.subtract),
    ("", "Sum"): _folded(np.add),
    ("", "Swish"): _swish(1.0),
    ("", "Tanh"): _unary(np.tanh),
    ("com.microsoft", "QuickGelu"): _swish(1.702),
}
