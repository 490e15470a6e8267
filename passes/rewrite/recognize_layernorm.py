"""Recognizes layer normalization that is spelled out in several nodes.

y = (x - mean) / sqrt(variance + ε) · scale + bias, with mean and variance over the last axis
(Ba, Kiros and Hinton, "Layer Normalization", 2016, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from onnxq.graph.edit import add_initializer, new_node, remove_unread, take_over
from onnxq.graph.query import is_graph_output, is_op, only_use, scalar_of, shape_of, weight_of
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["RecognizeLayernormPass"]


class _Site(NamedTuple):
    """What the normalization reads: x, its rank and last dimension, ε."""

    x: ir.Value
    rank: int
    size: int
    epsilon: float


class RecognizeLayernormPass(RewritePass):
    """Replaces a spelled-out layer normalization by LayerNormalization.

    1. Mean and variance are taken over the last axis, and that alone, with ``keepdims`` 1; the
       axis and its size are known.
    2. ε is one constant; a square written as Pow has the exponent 2.
    3. Nothing inside is read outside.
    4. A Mul, and then an Add, by one constant per element of the last axis become scale and bias;
       without them the scale is 1.
    5. The values are float and the opset is at least 17.
    """

    name = "recognize-layernorm"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits every Div and Mul of the main graph, where the pattern can end."""
        modified = False
        for node in list(model.graph):
            if is_op(node, "Div", "Mul") and node.graph is not None:
                modified |= self._try_replace(model, node)
        return ir.passes.PassResult(model, modified)

    def _try_replace(self, model: ir.Model, node: ir.Node) -> bool:
        template = _DIVIDED if is_op(node, "Div") else _MULTIPLIED
        match = template.match(model, model.graph, node, check_nodes_are_removable=False)
        if not match:
            return False
        site = _read(match.bindings)
        if isinstance(site, str):
            return self.refuse(node, site)
        if model.graph.opset_imports.get("", 1) < 17:
            return self.refuse(node, "LayerNormalization needs opset 17")
        matched = set(match.nodes)
        inside = [item for item in model.graph if item in matched]
        for item in inside:
            users = {user for user, _ in item.outputs[0].uses()}
            if item is not node and (is_graph_output(item.outputs[0]) or users - matched):
                return self.refuse(node, f"{item.outputs[0].name} is also read elsewhere")
        self.fired(node, f"{len(inside)} nodes recognized as LayerNormalization")
        _replace(node, site, inside)
        return True


def _replace(node: ir.Node, site: _Site, inside: list[ir.Node]) -> None:
    """Rule 4."""
    graph, dtype = node.graph, site.x.dtype
    assert graph is not None
    assert dtype is not None
    stem, last = node.name, node
    scale: npt.NDArray[Any] = np.ones(site.size, dtype.numpy())
    bias = None
    following = _followed_by("Mul", last, site)
    if following is not None:
        last, scale = following
        inside.append(last)
    following = _followed_by("Add", last, site)
    if following is not None:
        last, bias = following
        inside.append(last)
    inputs = [site.x, add_initializer(graph, f"{stem}.scale", scale)]
    if bias is not None:
        inputs.append(add_initializer(graph, f"{stem}.bias", bias))
    attributes = {"axis": -1, "epsilon": site.epsilon}
    norm = new_node(last, "LayerNormalization", inputs, attributes)
    take_over(last.outputs[0], norm.outputs[0])
    remove_unread(inside)


def _followed_by(
    op_type: str, node: ir.Node, site: _Site
) -> tuple[ir.Node, npt.NDArray[Any]] | None:
    """Returns the one reader of ``node`` and its constant per element of the last axis, if so."""
    use = only_use(node.outputs[0])
    if use is None or not is_op(use.node, op_type):
        return None
    array = weight_of(use.node.inputs[1 - use.position])
    if array is None or array.size != site.size or array.shape[-1:] != (site.size,):
        return None
    return (use.node, array.reshape(-1)) if array.ndim <= site.rank else None


def _read(bindings: Mapping[str, Any]) -> _Site | str:
    """Rules 1, 2 and 5: reads what the pattern has found, or says why it is something else."""
    x = bindings["x"]
    shape = shape_of(x)
    if shape is None or not shape or shape[-1] is None:
        return "the size of the last axis is not known"
    if x.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return "its input is not known to be float32 or float64"
    for name in ("mean", "variance"):
        axes = scalar_of(bindings[f"{name}_axes"])
        keeps = bindings[name].producer().attributes.get_int("keepdims", 1)
        if axes is None or axes % len(shape) != len(shape) - 1 or not keeps:
            return f"its {name} is not taken over the last axis alone"
    epsilon, two = scalar_of(bindings["epsilon"]), bindings.get("two")
    if epsilon is None or (two is not None and scalar_of(two) != 2.0):
        return "its epsilon or its exponent is not the constant expected"
    return _Site(x, len(shape), shape[-1], epsilon)


def _spread(op: Any, deviation: Any, two: Any, variance_axes: Any, epsilon: Any) -> Any:  # noqa: ANN401
    squared = pattern.OrValue([op.Mul(deviation, deviation), op.Pow(deviation, two)])
    variance = op.ReduceMean(squared, variance_axes, _outputs=["variance"])
    return op.Sqrt(op.Add(variance, epsilon))


def _divided(op: Any, x: Any, mean_axes: Any, variance_axes: Any, two: Any, epsilon: Any) -> Any:  # noqa: ANN401, PLR0913
    deviation = op.Sub(x, op.ReduceMean(x, mean_axes, _outputs=["mean"]))
    return op.Div(deviation, _spread(op, deviation, two, variance_axes, epsilon))


def _multiplied(op: Any, x: Any, mean_axes: Any, variance_axes: Any, two: Any, epsilon: Any) -> Any:  # noqa: ANN401, PLR0913
    deviation = op.Sub(x, op.ReduceMean(x, mean_axes, _outputs=["mean"]))
    inverse = op.Reciprocal(_spread(op, deviation, two, variance_axes, epsilon))
    return op.Mul(deviation, inverse)


_DIVIDED = pattern.Pattern(_divided)
_MULTIPLIED = pattern.Pattern(_multiplied)
