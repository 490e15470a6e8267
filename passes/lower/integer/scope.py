"""The graph under construction: which values are codes already, and in which layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.bias import added_bias
from onnxq.graph.qdq import Affine
from onnxq.graph.query import heavy, read_values
from onnxq.graph.roles import is_activation
from onnxq.passes.lower.integer.emitter import Codes, Emitter, Written
from onnxq.passes.lower.integer.rescale import recoded
from onnxq.plan.channels import common_params, has_channels
from onnxq.plan.quant_plan import Use

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["PLANAR", "Scope"]

PLANAR = 4
"""Rank of the values that have two layouts, [N, C, H, W] and [N, H, W, C]."""
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


class Scope(Emitter):
    """Knows which values are codes already, and in which layout.

    Attributes:
        plan: What to emit.
    """

    def __init__(self, graph: ir.Graph, plan: QuantPlan, *, narrow: bool) -> None:
        super().__init__(graph, narrow=narrow)
        self.plan = plan
        self._held: dict[str, dict[bool, ir.Value]] = {}
        self._used: dict[tuple[str, int, bool], ir.Value] = {}
        self._computed: set[ir.Value] = set()
        self._reals: dict[str, ir.Value] = {}

    # ---- values ----------------------------------------------------------------------------------

    def is_held(self, value: ir.Value | None, *, last: bool | None = None) -> bool:
        """Whether ``value`` is there as codes, in that layout (None = in any)."""
        held = self._held.get(str(value.name), {}) if value is not None else {}
        return bool(held) if last is None else last in held

    def prefers_last(self, value: ir.Value | None) -> bool:
        """Whether ``value`` is there with channels last and not otherwise."""
        return self.is_held(value, last=True) and not self.is_held(value, last=False)

    def read(self, position: int, *, last: bool = False) -> Codes:
        """Returns an input of the node as codes."""
        value = self.node.inputs[position]
        assert value is not None
        own = self.plan.uses.get(Use(str(self.node.name), position))
        whole = self.plan.values.get(str(value.name))
        if own is None or whole is None:
            planned = own or whole
            assert planned is not None
            return self._as_read(self._in_layout(value, planned, last=last), planned, last=last)
        key = (str(value.name), id(own), last)
        if key not in self._used:
            codes = self._as_read(self._in_layout(value, whole, last=last), whole, last=last)
            self._used[key] = recoded(self, codes, written(own), f"{value.name}_used")
        return self._as_read(self._used[key], own, last=last)

    def _as_read(self, value: ir.Value, planned: ValuePlan, *, last: bool) -> Codes:
        assert planned.params is not None
        params = common_params(planned.params) if has_channels(planned) else planned.params
        limits = planned.spec.dtype.qmin, planned.spec.dtype.qmax
        return Codes(value, float(params.scale), int(params.zero_point), limits, last)

    def _in_layout(self, value: ir.Value, planned: ValuePlan, *, last: bool) -> ir.Value:
        held = self._held.setdefault(str(value.name), {})
        if not held:
            held[False] = self._quantized(value, planned)
        if last not in held:
            stem = f"{value.name}_quantized_{'last' if last else 'first'}"
            held[last] = self.transposed(held[not last], _TO_LAST if last else _TO_FIRST, stem)
        return held[last]

    def _quantized(self, value: ir.Value, planned: ValuePlan) -> ir.Value:
        """Brings a float value, which nothing computes on integers, to codes."""
        codes = self.editor.quantize(value, affine(planned), after=None, before=self.node)
        dtype = planned.spec.dtype
        if dtype.bits == dtype.storage.itemsize * 8:
            return codes
        bounds = [self.constant("code_bound", b, np.uint8) for b in (dtype.qmin, dtype.qmax)]
        return self.op("Clip", [codes, *bounds], ir.DataType.UINT8, f"{value.name}_clipped")

    def write(self, value: ir.Value, codes: ir.Value, *, last: bool = False) -> None:
        """Says that ``codes`` stand for ``value`` from now on."""
        self._computed.add(value)
        self._held[str(value.name)] = {last: codes}

    def computes(self) -> bool:
        """Whether the plan has codes for what the node reads and, but for a last layer, writes."""
        read = [
            self.plan.of(str(value.name), Use(str(self.node.name), position))
            for position, value in enumerate(self.node.inputs)
            if value is not None and is_activation(value)
        ]
        known = bool(read) and all(planned is not None for planned in read)
        return known and (self.target() is not None or heavy(self.node))

    def target(self) -> ir.Value | None:
        """Returns the value that the node writes as codes; None if its output is float.

        That is its output, or what lies behind a bias that is added to a matrix product, and behind
        a Relu or Clip that its quantization absorbs.
        """
        out = self.node.outputs[0]
        if str(out.name) in self.plan.values:
            return out
        biased = added_bias(out) if self.node.op_type == "MatMul" else None
        if biased is not None and str(biased[0].name) not in self.plan.float_nodes:
            out = biased[0].outputs[0]
        if str(out.name) in self.plan.values:
            return out
        users = out.consumers()
        if len(users) == 1 and users[0].op_type in ("Relu", "Clip") and not out.is_graph_output():
            behind = users[0].outputs[0]
            if str(behind.name) in self.plan.values:
                return behind
        return None

    def written(self, value: ir.Value) -> Written:
        """Returns how the codes of a planned value are written."""
        return written(self.plan.values[str(value.name)])

    def let_read(self) -> None:
        """Lets the node, which is float, read what was computed as codes."""
        for value in dict.fromkeys(read_values(self.node)):
            if value not in self._computed:
                continue
            real = self._real(value)
            for user, position in list(value.uses()):
                if user is self.node or user.graph is not self.node.graph:
                    user.replace_input_with(position, real)

    def leave(self) -> None:
        """Lets the graph give out what was computed as codes, under its name."""
        for value in list(self.editor.graph.outputs):
            if value in self._computed:
                self.replace(value, self._real(value))

    def replace(self, value: ir.Value, real: ir.Value) -> None:
        """Lets ``real`` stand for ``value``, for float readers and among the graph's outputs."""
        for user, position in list(value.uses()):
            user.replace_input_with(position, real)
        if value.is_graph_output():
            name = str(value.name)
            value.name = self.editor.fresh(f"{name}_float")
            real.name = name
            outputs = self.editor.graph.outputs
            outputs[list(outputs).index(value)] = real

    def _real(self, value: ir.Value) -> ir.Value:
        name = str(value.name)
        if name not in self._reals:
            planned = self.plan.values[name]
            codes = self._in_layout(value, planned, last=False)
            self._reals[name] = self.editor.dequantize(
                codes, affine(planned), stem=name, before=self.node
            )
            self._reals[name].shape = value.shape
        return self._reals[name]


def affine(planned: ValuePlan) -> Affine:
    """Returns what quantization and dequantization nodes of a planned value hold."""
    params = planned.params
    assert params is not None
    zero = params.zero_point.astype(planned.spec.dtype.storage)
    return Affine(params.scale, zero, planned.spec.axis)


def written(planned: ValuePlan) -> Written:
    """Returns how the codes of a planned value are written."""
    assert planned.params is not None
    scale = planned.params.scale.astype(np.float64)
    zero = planned.params.zero_point.astype(np.int64)
    return Written(scale, zero, (planned.spec.dtype.qmin, planned.spec.dtype.qmax))
