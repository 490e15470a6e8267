"""Emission of QuantizeLinear and DequantizeLinear nodes; knows integers and names, no plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.names import Names
from onnxq.graph.on_disk import kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["Affine", "GraphEditor"]

_LOWEST = np.float32(-3e38)


@dataclass(frozen=True, eq=False)
class Affine:
    """Scale and zero point as a Q or DQ node holds them.

    Attributes:
        scale: float32, [] or [n].
        zero_point: Integer array of the codes' storage type, the shape of ``scale``; None = 0.
        axis: Axis that ``scale`` runs along; None for one scale.
        block: Consecutive indices of ``axis`` that share a scale, which has the rank of the codes
            then; None for one index each.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.integer] | None = None
    axis: int | None = None
    block: int | None = None

    @property
    def attributes(self) -> dict[str, int]:
        """The nodes' attributes."""
        along = {} if self.axis is None else {"axis": self.axis}
        return along if self.block is None else {**along, "block_size": self.block}


class GraphEditor:
    """Adds nodes and constants under fresh names, next to the nodes that need them."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.fresh = Names(graph).fresh
        self._constants: dict[tuple[str, str, bytes, tuple[int, ...]], ir.Value] = {}

    def constant(
        self, stem: str, array: npt.NDArray[np.generic], dtype: ir.DataType | None = None
    ) -> ir.Value:
        """Returns an initializer that holds ``array``; equal small arrays share one."""
        array = kept(array)
        shared = array.size <= 1
        key = (str(dtype), str(array.dtype), array.tobytes() if shared else b"", array.shape)
        if shared and key in self._constants:
            return self._constants[key]
        name = self.fresh(stem)
        tensor = ir.Tensor(array, dtype=dtype, name=name)
        value = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.graph.register_initializer(value)
        self._constants[key] = value
        return value

    def node(  # noqa: PLR0913 - one argument per part of a node
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        *,
        stem: str,
        dtype: ir.DataType,
        shape: ir.Shape | None,
        attributes: Mapping[str, Any] | None = None,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
    ) -> ir.Value:
        """Adds a node with one output and returns it; at the graph's start if no place is given."""
        name = self.fresh(stem)
        output = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype))
        node = ir.node(
            op_type,
            inputs,
            attributes or {},
            outputs=[output],
            name=self.fresh(f"{stem}_{op_type}"),
        )
        if before is not None:
            self.graph.insert_before(before, node)
        elif after is not None:
            self.graph.insert_after(after, node)
        elif len(self.graph):
            self.graph.insert_before(self.graph[0], node)
        else:
            self.graph.append(node)
        return output

    def cast(
        self, value: ir.Value, dtype: ir.DataType, *, stem: str, after: ir.Node | None = None
    ) -> ir.Value:
        """Adds Cast(value) and returns what it gives; at the graph's start if no place is given."""
        return self.node(
            "Cast",
            [value],
            stem=stem,
            dtype=dtype,
            shape=value.shape,
            attributes={"to": int(dtype)},
            after=after,
        )

    def shield(
        self, value: ir.Value, *, before: ir.Node | None = None, after: ir.Node | None = None
    ) -> ir.Value:
        """Adds Max(value, lowest): no operation, but one that onnxruntime fuses nothing across."""
        return self.node(
            "Max",
            [value, self.constant("lowest", np.asarray(_LOWEST))],
            stem=f"{value.name}_float",
            dtype=ir.DataType.FLOAT,
            shape=value.shape,
            before=before,
            after=after,
        )

    def drop_unused_constants(self) -> None:
        """Removes the initializers that nothing reads any more."""
        outputs = {id(value) for value in self.graph.outputs}
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and id(value) not in outputs and not value.is_graph_input():
                del self.graph.initializers[name]

    def parameters(self, stem: str, affine: Affine) -> list[ir.Value | None]:
        """Returns the scale and zero point as constants, the latter absent where it is 0."""
        values: list[ir.Value | None] = [self.constant(f"{stem}_scale", affine.scale)]
        if affine.zero_point is not None:
            values.append(self.constant(f"{stem}_zero_point", affine.zero_point))
        return values

    def quantize(
        self, value: ir.Value, affine: Affine, *, after: ir.Node | None, before: ir.Node | None
    ) -> ir.Value:
        """Adds QuantizeLinear on ``value`` and returns the codes."""
        assert affine.zero_point is not None, "the output type comes from the zero point"
        dtype = ir.DataType.from_numpy(affine.zero_point.dtype)
        return self.node(
            "QuantizeLinear",
            [value, *self.parameters(value.name or "value", affine)],
            stem=f"{value.name}_quantized",
            dtype=dtype,
            shape=value.shape,
            attributes=affine.attributes,
            after=after,
            before=before,
        )

    def dequantize(
        self,
        codes: ir.Value,
        affine: Affine,
        *,
        stem: str,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
    ) -> ir.Value:
        """Adds DequantizeLinear on ``codes`` and returns the reals."""
        return self.node(
            "DequantizeLinear",
            [codes, *self.parameters(stem, affine)],
            stem=f"{stem}_dequantized",
            dtype=ir.DataType.FLOAT,
            shape=codes.shape,
            attributes=affine.attributes,
            before=before,
            after=after,
        )
