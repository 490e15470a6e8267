"""Lets a half precision model compute in float32 and keeps its interface.

Every float16 and bfloat16 number is a float32 number, so weights keep their values exactly. What
changes is the rounding in between: the original rounds each result to 11 bits (bfloat16: 8), the
widened model to 24. It is therefore not within the contract's 1e-5 of the original but nearer to
what both stand for, and by how much depends on depth. No tolerance would be right for all models.
So this is a repair: it runs before the contract takes its reference, and its proof is the one at
the end of a run, where the result is compared with the model as given.

Assumes that no overflow (beyond 65504) or rounding of half precision is part of the function. A
model that relies on a product becoming infinite, or casts to half and back in order to round,
computes something else afterwards, which that proof shows. onnxruntime's CPU provider assumes the
same: most operators have no half kernel there, run in float32, and the Casts between them go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.bypass import try_bypass
from onnxq.graph.edit import new_node, replace_uses
from onnxq.graph.names import fresh_name
from onnxq.graph.on_disk import kept
from onnxq.graph.query import is_op
from onnxq.passbase import RewritePass, node_label

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WidenHalf"]

_FLOAT = ir.DataType.FLOAT
_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_DOMAINS = ("", "com.microsoft")
# Attributes of standard operators that name the type of a result or of what lies in between.
_TYPE_ATTRIBUTES = (
    "to", "dtype", "output_datatype", "output_dtype", "precision", "softmax_precision",
    "stash_type",
)  # fmt: skip


class WidenHalf(RewritePass):
    """Makes all float16 and bfloat16 weights and values float32, behind an interface that stays.

    1. Weights and tensors in attributes (Constant, ConstantOfShape) become float32, values exact.
    2. Attributes that name a half type (of Cast, RandomNormal, EyeLike …) name float32.
    3. The recorded types of all values follow, in subgraphs, too.
    4. A half input of the model stays; a Cast behind it feeds its readers, except Casts, which
       read it as before. So does a weight that is an output of the model.
    5. A half output of the model stays; a Cast in front of it computes it, unless it comes from a
       Cast that nobody else reads.
    6. A Cast that is left with nothing to do is removed, where no graph boundary needs it.

    Needs inlined functions.

    Raises:
        ModelError: An input or output of the model holds half numbers in a sequence or an optional,
            which no Cast takes; an attribute holds such a type; or BitCast makes or reads one.
    """

    name = "widen-half"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Casts at the boundary first, then widens all that lies within."""
        nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
        _refuse_unknown(model.graph, nodes)
        casts = [
            node
            for node in nodes
            if is_op(node, "Cast") and (_is_half(node.inputs[0]) or _target(node) in _HALF)
        ]
        modified = False
        for value in _half_sources(model.graph):
            modified |= self._try_cast_behind(model.graph, value)
        for value in list(model.graph.outputs):
            modified |= self._try_cast_in_front(model.graph, value)
        kept = {v for v in (*model.graph.inputs, *model.graph.outputs) if _is_half(v)}
        for node in nodes:
            if kept.isdisjoint(node.outputs):
                modified |= self._try_widen_attributes(node)
        for value in _values(model):
            if value not in kept:
                modified |= self._try_widen_value(value)
        for node in casts:
            modified |= self._try_remove(node)
        return ir.passes.PassResult(model, modified)

    def _try_cast_behind(self, graph: ir.Graph, value: ir.Value) -> bool:
        """Rule 4."""
        uses = [use for use in value.uses() if not is_op(use[0], "Cast")]
        if not uses:
            return False
        cast = new_node(
            graph[0], "Cast", [value], {"to": _FLOAT}, stem=f"{value.name}_Cast", dtype=_FLOAT
        )
        cast.outputs[0].shape = value.shape
        replace_uses(value, cast.outputs[0], uses)
        return self.fired(value, "is cast to float32 behind the model's boundary")

    def _try_cast_in_front(self, graph: ir.Graph, value: ir.Value) -> bool:
        """Rule 5."""
        producer = value.producer()
        if not _is_half(value) or producer is None:
            return False
        if is_op(producer, "Cast") and not value.uses():
            return False
        name, dtype = str(value.name), value.dtype
        cast = ir.node("Cast", [value], {"to": dtype}, name=fresh_name(graph, f"{name}_Cast"))
        graph.append(cast)
        output = cast.outputs[0]
        output.type, output.shape = value.type, value.shape
        outputs = [output if item is value else item for item in graph.outputs]
        graph.outputs.clear()
        graph.outputs.extend(outputs)
        value.name = fresh_name(graph, f"{name}_float")
        output.name = name
        return self.fired(output, "is cast from float32 at the model's boundary")

    def _try_widen_attributes(self, node: ir.Node) -> bool:
        """Rules 1 and 2."""
        modified = False
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR:
                tensor = attribute.as_tensor()
                if tensor.dtype not in _HALF:
                    continue
                node.attributes.add(ir.AttrTensor(name, _widened(tensor)))
            elif name in _TYPE_ATTRIBUTES and _names_half(node, attribute):
                node.attributes.add(ir.AttrInt64(name, int(_FLOAT)))
            else:
                continue
            modified = self.fired(node, f"its attribute {name} became float32")
        return modified

    def _try_widen_value(self, value: ir.Value) -> bool:
        """Rules 1 and 3."""
        tensor = value.const_value
        if tensor is not None and tensor.dtype in _HALF:
            value.const_value = _widened(tensor)
            value.type = ir.TensorType(_FLOAT)
            return self.fired(value, f"weight of {tensor.dtype} became float32")
        if not _is_half(value):
            return False
        value.type = _widened_type(value.type)
        return self.fired(value, "is float32 now")

    def _try_remove(self, cast: ir.Node) -> bool:
        """Rule 6."""
        source = cast.inputs[0]
        if source is None or source.dtype != _FLOAT or _target(cast) != _FLOAT:
            return False
        reason = try_bypass(cast)
        return self.refuse(cast, reason) if reason else self.fired(cast, "Cast removed")


def _refuse_unknown(graph: ir.Graph, nodes: list[ir.Node]) -> None:
    for value in (*graph.inputs, *graph.outputs):
        if _is_half(value) and not isinstance(value.type, ir.TensorType):
            raise ModelError(
                f"'{value.name}' holds numbers of {value.dtype} in a {type(value.type).__name__}, "
                "which cannot be cast at the model's boundary; export the model in float32"
            )
    for node in nodes:
        bits = is_op(node, "BitCast") and any(map(_is_half, (*node.inputs, *node.outputs)))
        if bits or _holds_half_type(node):
            raise ModelError(
                f"{node.op_type} '{node_label(node)}' depends on half precision being stored as "
                "such; export the model in float32"
            )


def _half_sources(graph: ir.Graph) -> list[ir.Value]:
    """Returns the half values that come in from outside, or that must go out as they are."""
    weights = [value for value in graph.initializers.values() if value.is_graph_output()]
    return [value for value in dict.fromkeys([*graph.inputs, *weights]) if _is_half(value)]


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from dict.fromkeys([*graph.inputs, *graph.initializers.values()])
        for node in graph:
            yield from node.outputs


def _is_half(value: ir.Value | None) -> bool:
    return value is not None and value.dtype in _HALF


def _target(cast: ir.Node) -> int | None:
    return cast.attributes.get_int("to", None)


def _names_half(node: ir.Node, attribute: ir.Attr) -> bool:
    return (
        node.domain in _DOMAINS
        and attribute.type == ir.AttributeType.INT
        and attribute.as_int() in _HALF
    )


def _holds_half_type(node: ir.Node) -> bool:
    kinds = (a.value for a in node.attributes.values() if a.type == ir.AttributeType.TYPE_PROTO)
    return any(kind.type is not None and kind.type.dtype in _HALF for kind in kinds)


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(kept(tensor.numpy().astype(np.float32)), name=tensor.name)


def _widened_type(kind: ir.TypeProtocol | None) -> ir.TypeProtocol:
    """Returns the same type, a sequence of sequences of tensors say, of float32."""
    if isinstance(kind, ir.SequenceType | ir.OptionalType):
        return type(kind)(_widened_type(kind.elem_type))
    return ir.TensorType(_FLOAT)
