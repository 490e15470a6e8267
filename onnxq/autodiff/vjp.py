"""Vector-Jacobian products: a model → a model that also returns gradients.

For outputs y(w) and given cotangents d = dL/dy of any loss L, the emitted graph computes y and

    dL/dw = Σ_y (dy/dw)ᵀ d        for every w that is asked for

by reverse mode: from the last node to the first, each node's rule turns the cotangents of its
outputs into those of its inputs, and what several readers send to one value is added up. The
cotangents are inputs of the graph, so that one graph serves every loss, which numpy can form; the
second derivative is the gradient of the emitted model's gradient.

1. The emitted graph is standard ONNX in the model's opset, for the feed's shapes alone.
2. Only values on a path from what is differentiated by to the outputs get cotangents: the rest of
   the graph adds no nodes.
3. A rule reads what the forward pass computed anyway (an output rather than an input where either
   serves), so that onnxruntime goes on fusing the forward pass.
4. Integers end a gradient, but for the codes of QuantizeLinear, which carry it on as if rounding
   were none (:mod:`onnxq.autodiff.quantization`). So do functions that are flat almost everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxq.autodiff.emitter import Emitter
from onnxq.autodiff.rules import FLAT, MANY_OUTPUTS, RULES
from onnxq.autodiff.site import Site
from onnxq.autodiff.specialize import specialize
from onnxq.errors import ModelError
from onnxq.graph.query import is_graph_output, read_values, shape_of
from onnxq.runtime.expose import expose, produced_values
from onnxq.runtime.probe import probe_feed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from onnxq.runtime.session import Feed

__all__ = ["Differentiated", "vjp"]

# ReduceMax and ReduceMean take their axes as an input since.
_OLDEST_OPSET = 18


@dataclass(frozen=True)
class Differentiated:
    """A model that computes gradients.

    Attributes:
        model: Takes the original's inputs, the weights that are fed, and the cotangents; returns
            the original's outputs and then the gradients.
        cotangents: Output of the original → input that takes dL/d(output), of its shape and dtype.
            An output that depends on nothing that is differentiated by has none.
        gradients: What is differentiated by → output that holds dL/d(it), of its shape and dtype.
    """

    model: ir.Model
    cotangents: Mapping[str, str]
    gradients: Mapping[str, str]


def vjp(  # noqa: PLR0913 (all but two have defaults and are named at the call)
    model: ir.Model,
    wrt: Sequence[str],
    feed: Feed | None = None,
    *,
    outputs: Sequence[str] | None = None,
    fed: Collection[str] = (),
    threads: int = 1,
) -> Differentiated:
    """Returns a model that computes ``model`` and gradients of its outputs.

    Args:
        model: A float or QDQ model of opset 18 or newer, its nodes in an order in which they can
            run. Left as it is; the result shares its weights.
        wrt: Names of float values: inputs, weights, scales, or values that nodes compute.
        feed: A sample whose shapes the emitted graph is made for; None = those that the inputs
            state, with 1 for what they leave open.
        outputs: Names of computed values to return and differentiate in place of the model's
            outputs, so that nodes behind them, for which there is no gradient, are cut off.
        fed: Names of weights that become inputs of the emitted graph, for loops that change them.
            onnxruntime runs constant weights up to three times as fast.
        threads: Threads inside an operator, for the run that shows the shapes.

    Raises:
        ModelError: The model is too old, has no such value, or has on the way an operator without
            a rule, or one in a form for which there is no gradient.
    """
    if model.graph.opset_imports.get("", 0) < _OLDEST_OPSET:
        raise ModelError(
            f"gradients need opset {_OLDEST_OPSET} or newer, but the model says "
            f"{model.graph.opset_imports.get('', 0)}; normalize it first"
        )
    copy = _cut(model, outputs)
    feed = probe_feed(copy) if feed is None else feed
    copy = specialize(copy, feed, variables={*wrt, *fed}, threads=threads)
    _feed_weights(copy.graph, fed)
    by = {name: _float_value(copy, name) for name in dict.fromkeys(wrt)}
    walk = _Backward(copy.graph, by.values())
    cotangents = walk.seed()
    walk.run()
    gradients = {name: walk.gradient_output(value) for name, value in by.items()}
    RemoveUnusedNodesPass()(copy)
    return Differentiated(copy, cotangents, gradients)


def _cut(model: ir.Model, outputs: Sequence[str] | None) -> ir.Model:
    if outputs is None:
        return model
    known = produced_values(model)
    for name in outputs:
        if name not in known:
            raise ModelError(f"no node of the model computes '{name}'; it cannot be an output")
    copy = expose(model, outputs)
    RemoveUnusedNodesPass()(copy)
    return copy


def _feed_weights(graph: ir.Graph, fed: Iterable[str]) -> None:
    for name in dict.fromkeys(fed):
        value = graph.initializers.pop(name, None)
        if value is None:
            raise ModelError(f"'{name}' is no weight that the outputs need; it cannot be fed")
        value.const_value = None
        graph.inputs.append(value)


def _float_value(model: ir.Model, name: str) -> ir.Value:
    """Returns the value called ``name``.

    Raises:
        ModelError: There is none, or it holds no floats.
    """
    named = {str(value.name): value for value in model.graph.inputs}
    value = ({**produced_values(model), **model.graph.initializers, **named}).get(name)
    if value is None:
        raise ModelError(f"'{name}' is no value that the outputs need; there is no gradient by it")
    if value.dtype is None or not value.dtype.is_floating_point():
        raise ModelError(f"'{name}' holds no floats; there is no gradient by it")
    return value


@dataclass
class _Backward:
    """The walk from the outputs to what is differentiated by.

    Attributes:
        graph: Grows by what the rules emit.
        by: What is differentiated by.
        arrived: Value → cotangents that its readers have sent so far.
    """

    graph: ir.Graph
    by: Collection[ir.Value]
    arrived: dict[ir.Value, list[ir.Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = list(self.graph)
        self.emitter = Emitter(self.graph)
        self.active = _active(self.nodes, self.by)

    def seed(self) -> dict[str, str]:
        """Makes the inputs that take cotangents; output name → input name."""
        names = {}
        for output in dict.fromkeys(self.graph.outputs):
            if output not in self.active:
                continue
            name = self.emitter.names.fresh(f"{output.name}_cotangent")
            value = ir.val(name, output.dtype, shape_of(output))
            self.graph.inputs.append(value)
            self.arrived.setdefault(output, []).append(value)
            names[str(output.name)] = name
        return names

    def run(self) -> None:
        """Applies the rules, last node first."""
        for node in reversed(self.nodes):
            if not any(output in self.arrived for output in node.outputs):
                continue
            needs = {i for i, value in enumerate(node.inputs) if value in self.active}
            if needs or any(value in self.active for value in read_values(node)):
                self._step(node, needs)

    def gradient_output(self, value: ir.Value) -> str:
        """Makes the gradient by ``value`` an output of the graph and returns its name."""
        total = self._total(value)
        name = self.emitter.names.fresh(f"{value.name}_gradient")
        stem = f"{value.name}_gradient"
        assert value.dtype is not None, "checked when it was looked up"
        if total is None:
            zeros = ir.tensor(np.zeros(1, value.dtype.numpy()))
            shape = self.emitter.constant(np.asarray(shape_of(value) or (), np.int64))
            (total,) = self.emitter.nodes(
                "ConstantOfShape", [shape], [value.dtype], {"value": zeros}, stem=stem
            )
        if total.producer() is None or is_graph_output(total):
            (total,) = self.emitter.nodes("Identity", [total], [value.dtype], {}, stem=stem)
        total.name = name
        total.shape = ir.Shape(shape_of(value) or ())
        self.graph.outputs.append(total)
        return name

    def _step(self, node: ir.Node, needs: Collection[int]) -> None:
        cotangents = [self._total(output) for output in node.outputs]
        site = Site(node, self.emitter, cotangents, needs)
        rule = RULES.get(node.op_type) if node.domain == "" else None
        if rule is None:
            raise site.refusal(
                "there is no gradient rule for this operator; differentiate outputs in front of it"
            )
        beyond = any(value is not None for value in cotangents[1:])
        if beyond and node.op_type not in MANY_OUTPUTS:
            raise site.refusal("there is a gradient of its first output alone, but more are read")
        first = cotangents[0]
        grads = rule(site, first if first is not None else site.zeros(site.shape(site.y)))
        for i in sorted(needs):
            if i not in grads:
                raise site.refusal(f"there is no gradient by its input {i}")
            value = node.inputs[i]
            assert value is not None, "an input that is needed is there"
            self.arrived.setdefault(value, []).append(grads[i])

    def _total(self, value: ir.Value) -> ir.Value | None:
        """Adds up what has arrived, once."""
        terms = self.arrived.get(value)
        if not terms:
            return None
        if len(terms) > 1:
            op_type = "Add" if len(terms) == 2 else "Sum"
            dtype = terms[0].dtype or ir.DataType.FLOAT
            stem = f"{value.name}_grad"
            terms[:] = self.emitter.nodes(op_type, list(terms), [dtype], {}, stem=stem)
        return terms[0]


def _active(nodes: Iterable[ir.Node], by: Iterable[ir.Value]) -> set[ir.Value]:
    """Returns what depends on ``by`` in a way that has a gradient."""
    active = set(by)
    for node in nodes:
        if node.op_type in FLAT or not any(value in active for value in read_values(node)):
            continue
        active.update(value for value in node.outputs if _carries(node, value, active))
    return active


def _carries(node: ir.Node, output: ir.Value, active: Collection[ir.Value]) -> bool:
    """Says whether a gradient goes through an output: floats do, and so do codes."""
    if output.dtype is None or output.dtype.is_floating_point():
        return True
    if node.op_type == "QuantizeLinear":
        return True
    return any(value in active and value.dtype == output.dtype for value in node.inputs if value)
