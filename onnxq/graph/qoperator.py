"""From QuantizeLinear/DequantizeLinear pairs to operators on codes, as onnxruntime fuses them.

A node whose values all come through DequantizeLinear and which one QuantizeLinear reads becomes the
operator that onnxruntime makes of it: QLinearConv and QLinearMatMul of ONNX, and QGemm, QLinearAdd,
QLinearMul, QLinearConcat, QLinearSigmoid, QLinearLeakyRelu, QLinearGlobalAveragePool and
MatMulIntegerToFloat of com.microsoft.

1. Relu and Clip between the node and its QuantizeLinear vanish: codes are clipped there already.
2. Operators that move codes about, or pick among them, run on the codes, where scale and zero point
   are the same before and behind them.
3. What has no such operator stays as it is, between DequantizeLinear and QuantizeLinear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.edit import remove_unread
from onnxq.graph.qdq import GraphEditor
from onnxq.graph.query import is_op, only_use, weight_of
from onnxq.graph.roles import attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = ["to_qoperator"]

_MICROSOFT = "com.microsoft"
_MOVES = (
    *("DepthToSpace", "Expand", "Flatten", "Gather", "MaxPool", "Reshape", "Resize", "Slice"),
    *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
_ABSORBED = ("Relu", "Clip")


class _Quantized(NamedTuple):
    """Codes with what they mean."""

    codes: ir.Value
    scale: ir.Value
    zero: ir.Value


def to_qoperator(model: ir.Model) -> None:
    """Replaces pairs around nodes, in place; see the module's rules.

    Args:
        model: In QDQ form.
    """
    nodes = list(model.graph)
    replacer = _Replacer(model.graph)
    for node in nodes:
        if node.domain == "":
            replacer.try_replace(node)
    remove_unread([node for node in nodes if node.graph is not None])
    replacer.editor.drop_unused_constants()
    if any(node.domain == _MICROSOFT for node in model.graph):
        model.graph.opset_imports[_MICROSOFT] = 1


class _Replacer:
    """Replaces one node after the other, in topological order."""

    def __init__(self, graph: ir.Graph) -> None:
        self.editor = GraphEditor(graph)

    def try_replace(self, node: ir.Node) -> bool:
        """Replaces ``node`` if the rules allow it."""
        if node.op_type in _MOVES:
            return self._move(node)
        rule = _RULES.get(node.op_type)
        return rule is not None and rule(self, node)

    def read(self, value: ir.Value | None, *, scales: bool = False) -> _Quantized | None:
        """Returns what ``value`` is dequantized from, with one scale unless several may be."""
        node = value.producer() if value is not None else None
        if node is None or not is_op(node, "DequantizeLinear"):
            return None
        codes, scale = node.inputs[0], node.inputs[1]
        numbers = weight_of(scale)
        if codes is None or scale is None or numbers is None or codes.dtype is None:
            return None
        if (numbers.ndim and not scales) or "block_size" in node.attributes:
            return None
        zero = node.inputs[2] if len(node.inputs) > 2 else None
        if zero is None:
            nothing = np.zeros(numbers.shape, codes.dtype.numpy())
            zero = self.editor.constant(f"{scale.name}_zero", nothing)
        return _Quantized(codes, scale, zero)

    def written(self, value: ir.Value, *, absorbs: bool = True) -> ir.Node | None:
        """Returns the QuantizeLinear of one scale that alone reads ``value``, by rule 1."""
        use = only_use(value)
        if use is not None and absorbs and is_op(use.node, *_ABSORBED) and use.position == 0:
            use = only_use(use.node.outputs[0])
        if use is None or use.position or not is_op(use.node, "QuantizeLinear"):
            return None
        scale = weight_of(use.node.inputs[1])
        return use.node if scale is not None and not scale.ndim else None

    def emit(  # noqa: PLR0913 (a node is all of this)
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        out: ir.Value,
        *,
        domain: str = _MICROSOFT,
        attributes: Mapping[str, Any] | None = None,
    ) -> bool:
        """Puts a node in the place of ``node`` that computes ``out`` under its name; True."""
        made = ir.Value(name=out.name, type=out.type, shape=out.shape)
        new = ir.node(
            op_type,
            inputs,
            attributes or {},
            domain=domain,
            outputs=[made],
            name=self.editor.fresh(f"{node.name}_{op_type}"),
        )
        self.editor.graph.insert_before(node, new)
        out.replace_all_uses_with(made, replace_graph_outputs=True)
        out.name = self.editor.fresh(f"{out.name}_old")
        return True

    def _move(self, node: ir.Node) -> bool:
        """Rule 2."""
        source = self.read(node.inputs[0])
        read = [out for out in node.outputs if out.uses() or out.is_graph_output()]
        behind = {out: self.written(out, absorbs=False) for out in read}
        if source is None or any(q is None or not _same(source, q) for q in behind.values()):
            return False
        olds = [q.outputs[0] if (q := behind.get(out)) is not None else out for out in node.outputs]
        outputs = [
            ir.Value(name=old.name, type=ir.TensorType(_dtype(source)), shape=old.shape)
            for old in olds
        ]
        new = ir.node(
            node.op_type,
            [source.codes, *node.inputs[1:]],
            {name: found.value for name, found in node.attributes.items()},
            outputs=outputs,
            name=self.editor.fresh(f"{node.name}_codes"),
        )
        self.editor.graph.insert_before(node, new)
        for old, made in zip(olds, outputs, strict=True):
            old.replace_all_uses_with(made, replace_graph_outputs=True)
            old.name = self.editor.fresh(f"{old.name}_old")
        return True


def _dtype(source: _Quantized) -> ir.DataType:
    dtype = source.codes.dtype
    assert dtype is not None, "what is read is known to have a type"
    return dtype


def _same(source: _Quantized, behind: ir.Node) -> bool:
    pairs = ((source.scale, behind.inputs[1]), (source.zero, behind.inputs[2]))
    return all(np.array_equal(weight_of(a), weight_of(b)) for a, b in pairs)  # type: ignore[arg-type]


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {name: found.value for name, found in node.attributes.items()}


def _bias(replacer: _Replacer, node: ir.Node) -> tuple[bool, ir.Value | None]:
    """Returns whether the bias is none or int32, and its codes."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        return True, None
    found = replacer.read(given, scales=True)
    return found is not None, None if found is None else found.codes


def _conv(replacer: _Replacer, node: ir.Node) -> bool:
    x, w = replacer.read(node.inputs[0]), replacer.read(node.inputs[1], scales=True)
    fits, bias = _bias(replacer, node)
    q = replacer.written(node.outputs[0])
    if x is None or w is None or q is None or not fits:
        return False
    inputs = [*x[:1], *x[1:], *w, q.inputs[1], q.inputs[2], *([] if bias is None else [bias])]
    return replacer.emit(
        node, "QLinearConv", inputs, q.outputs[0], domain="", attributes=_attributes(node)
    )


def _matmul(replacer: _Replacer, node: ir.Node) -> bool:
    a, b = replacer.read(node.inputs[0]), replacer.read(node.inputs[1], scales=True)
    if a is None or b is None:
        return False
    q = replacer.written(node.outputs[0], absorbs=False)
    if q is not None:
        inputs = [*a, *b, q.inputs[1], q.inputs[2]]
        return replacer.emit(node, "QLinearMatMul", inputs, q.outputs[0], domain="")
    inputs = [a.codes, b.codes, a.scale, b.scale, a.zero, b.zero]
    out, bias = _added(replacer, node.outputs[0])
    return replacer.emit(node, "MatMulIntegerToFloat", [*inputs, *bias], out)


def _added(replacer: _Replacer, product: ir.Value) -> tuple[ir.Value, list[ir.Value]]:
    """Returns what lies behind an int32 bias that is added to a product, and the bias in float."""
    use = only_use(product)
    if use is None or not is_op(use.node, "Add"):
        return product, []
    given = replacer.read(use.node.inputs[1 - use.position], scales=True)
    codes, scale = (weight_of(v) for v in given[:2]) if given is not None else (None, None)
    if given is None or codes is None or scale is None or codes.ndim != 1:
        return product, []
    real = np.asarray(codes * scale, np.float32)
    return use.node.outputs[0], [replacer.editor.constant(f"{given.codes.name}_real", real)]


def _gemm(replacer: _Replacer, node: ir.Node) -> bool:
    a, b = replacer.read(node.inputs[0]), replacer.read(node.inputs[1], scales=True)
    fits, bias = _bias(replacer, node)
    if a is None or b is None or not fits or attribute(node, "beta", 1.0) != 1.0:
        return False
    kept = {k: v for k, v in _attributes(node).items() if k in ("alpha", "transA", "transB")}
    q = replacer.written(node.outputs[0])
    behind = [] if q is None else [q.inputs[1], q.inputs[2]]
    out = node.outputs[0] if q is None else q.outputs[0]
    inputs = [*a, *b, bias, *behind]
    while inputs[-1] is None:
        inputs.pop()
    return replacer.emit(node, "QGemm", inputs, out, attributes=kept)


def _binary(op_type: str) -> Callable[[_Replacer, ir.Node], bool]:
    def rule(replacer: _Replacer, node: ir.Node) -> bool:
        a, b = (replacer.read(value) for value in node.inputs)
        q = replacer.written(node.outputs[0])
        if a is None or b is None or q is None:
            return False
        return replacer.emit(node, op_type, [*a, *b, q.inputs[1], q.inputs[2]], q.outputs[0])

    return rule


def _unary(op_type: str, **fixed: int) -> Callable[[_Replacer, ir.Node], bool]:
    def rule(replacer: _Replacer, node: ir.Node) -> bool:
        x, q = replacer.read(node.inputs[0]), replacer.written(node.outputs[0], absorbs=False)
        if x is None or q is None:
            return False
        inputs = [*x, q.inputs[1], q.inputs[2]]
        attributes = {**_attributes(node), **fixed}
        return replacer.emit(node, op_type, inputs, q.outputs[0], attributes=attributes)

    return rule


def _concat(replacer: _Replacer, node: ir.Node) -> bool:
    parts = [replacer.read(value) for value in node.inputs]
    q = replacer.written(node.outputs[0], absorbs=False)
    if q is None or any(part is None for part in parts):
        return False
    known = [part for part in parts if part is not None]
    attributes = _attributes(node)
    if all(_same(part, q) for part in known):
        codes = [part.codes for part in known]
        return replacer.emit(node, "Concat", codes, q.outputs[0], domain="", attributes=attributes)
    inputs = [q.inputs[1], q.inputs[2], *(value for part in known for value in part)]
    return replacer.emit(node, "QLinearConcat", inputs, q.outputs[0], attributes=attributes)


_RULES: Mapping[str, Callable[[_Replacer, ir.Node], bool]] = {
    "Add": _binary("QLinearAdd"),
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _unary("QLinearGlobalAveragePool", channels_last=0),
    "LeakyRelu": _unary("QLinearLeakyRelu"),
    "MatMul": _matmul,
    "Mul": _binary("QLinearMul"),
    "Sigmoid": _unary("QLinearSigmoid"),
}
