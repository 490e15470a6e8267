"""The lowering for a search: the quantized model with its scales and zero points apart, by name.

Of a written model, one scale or zero point may be the constant of many nodes, because the numbers
happen to be equal. For a search each becomes a constant of its own, so that it can be fed instead:

1. Scale and zero point of every Q and DQ of an activation. A DQ that reads the codes of a Q with
   the same params shares that Q's.
2. Codes and scale of every weight, and of every int32 bias, which follow from its input's scale.
   Packed codes are stored in 8 bits, as they are once onnxruntime has loaded them.
3. Bounds of every Clip on codes, which follow from the params where the Clip is a HardSwish's.

Names derive from nodes, which the lowering names for values: the same plan with other ranges has
the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxq.graph.packed import constant_codes
from onnxq.search.simulation import Simulation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["named_apart"]

_PARTS = ((1, "scale"), (2, "zero_point"))


def named_apart(quantized: ir.Model) -> Simulation:
    """Returns a quantized model as a search wants it.

    Args:
        quantized: What the QDQ lowering made; edited in place.
    """
    namer = _Namer(quantized.graph)
    for node in quantized.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            namer.name_params(node)
        elif node.op_type == "Clip" and _reads_codes(node):
            namer.own(node, 1, f"{node.name}/low")
            namer.own(node, 2, f"{node.name}/high")
    for name, value in list(quantized.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del quantized.graph.initializers[name]
    return Simulation(quantized, namer.params, frozenset(namer.weights))


class _Namer:
    """Gives nodes constants of their own.

    Attributes:
        params: Those given so far.
        weights: Names of those that a weight or a bias is made of.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.params: dict[str, npt.NDArray[np.generic]] = {}
        self.weights: set[str] = set()
        self._graph = graph
        self._before: dict[tuple[str, int], ir.Value | None] = {}
        self._owned: dict[str, ir.Value] = {}

    def name_params(self, node: ir.Node) -> None:
        """Rules 1 and 2."""
        source = node.inputs[0]
        assert source is not None
        if constant_codes(source) is not None:
            self._name_weight(node, source)
            return
        writer = _writer(source) if node.op_type == "DequantizeLinear" else None
        for position, what in _PARTS:
            value = node.inputs[position] if len(node.inputs) > position else None
            self._before[str(node.name), position] = value
            shared = writer is not None and self._before.get((str(writer.name), position)) is value
            self.own(node, position, f"{(writer if shared else node).name}/{what}")  # type: ignore[union-attr]

    def _name_weight(self, node: ir.Node, source: ir.Value) -> None:
        """Rule 2; onnxruntime multiplies a bias' scale into nothing."""
        codes = constant_codes(source)
        assert codes is not None, "what has none is no weight"
        wide = codes if source.dtype is None else codes.astype(source.dtype.numpy())
        node.replace_input_with(0, self._constant(f"{node.name}/codes", wide))
        self.own(node, 1, f"{node.name}/scale")
        self.weights.add(f"{node.name}/codes")
        if source.dtype != ir.DataType.INT32:
            self.weights.add(f"{node.name}/scale")

    def own(self, node: ir.Node, position: int, name: str) -> None:
        """Makes a constant input of ``node`` the one of that name."""
        value = node.inputs[position] if len(node.inputs) > position else None
        if value is None or value.const_value is None or value.is_graph_input():
            return
        node.replace_input_with(position, self._constant(name, value.const_value.numpy()))

    def _constant(self, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        """Returns the constant of a name, which gets ``array`` if there is none yet."""
        if name not in self._owned:
            tensor = ir.Tensor(array, name=name)
            own = ir.val(name, tensor.dtype, tensor.shape, const_value=tensor)
            self._graph.register_initializer(own)
            self.params[name], self._owned[name] = array, own
        return self._owned[name]


def _writer(codes: ir.Value) -> ir.Node | None:
    """Returns the QuantizeLinear that wrote codes, through a Clip that narrows them."""
    node = codes.producer()
    if node is not None and node.op_type == "Clip" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == "QuantizeLinear" else None


def _reads_codes(node: ir.Node) -> bool:
    return node.inputs[0] is not None and _writer(node.inputs[0]) is not None
