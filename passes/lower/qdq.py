"""Lowering to QuantizeLinear/DequantizeLinear pairs that onnxruntime fuses into integer kernels.

The emission rules are those that onnxruntime's graph transformers ask for (measured on 1.32):

1. One QuantizeLinear per planned value, right behind its producer; all uses read the
   DequantizeLinear of it, the graph output of that name included. A float node that writes floats
   reads what a float node wrote as it is: the residuals of a transformer lose nothing.
2. Weights are stored as integers with a DequantizeLinear, one copy per distinct quantization;
   those of few bits packed (``onnxq.graph.packed``), those of float nodes with a Cast and a scale
   (``onnxq.plan.scaled_weight``).
3. The constant bias of a Conv or Gemm whose input and weight are planned becomes int32 with scale
   float32(x_scale · w_scale); so does the constant that is added to a float-output MatMul, because
   a float one would make the MatMul float. Other targets want floats. Float layers are shifted too.
4. A heavy node that stays float between planned values gets Max(x, lowest) on its input: without
   that, onnxruntime quantizes its float weight silently. So do AveragePool and Softmax, whose
   integer kernels are slower than float ones and inexact. Other targets do nothing silently.
5. For onnxruntime's own kernels, HardSwish on codes with scale 3/k is Clip(q, z - k, z + k) · q.
6. Types narrower than 8 bits are stored in 8 with an integer Clip behind QuantizeLinear.
7. A value with one scale s_c per channel is written with one scale s (``onnxq.plan.channels``): the
   weight's scales and the bias take the channels' over, the weight's codes stay,

       QuantizeLinear(y · s / s_c + (z_c - z) · s; s, z)  =  QuantizeLinear(y; s_c, z_c)

   Float readers dequantize with s_c and z_c, convolutions, whose weights know of it, with s and z.
8. Where channels are taken out of a value (``onnxq.plan.clusters``), each reader becomes a sum of
   the rest, whose weight has codes 0 there, and of what is picked out of the float value.
9. BatchNormalizations that stay share their moments (``onnxq.graph.shared_moments``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.bias import added_bias
from onnxq.graph.hard_swish import hard_swish_on_codes
from onnxq.graph.qdq import GraphEditor
from onnxq.graph.query import weight_of
from onnxq.graph.roles import is_constant
from onnxq.graph.shared_moments import share_moments
from onnxq.passbase import LoweringPass
from onnxq.plan.bias_codes import integer_bias
from onnxq.plan.channels import common_params, writing_of
from onnxq.plan.cut_sums import affine_of, cut_sums, lowered_codes, split_readers
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.scaled_weight import write_float_layers
from onnxq.plan.spec import PerAxis, PerTensor, QParams
from onnxq.plan.weight_codes import weight_codes

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["LowerToQdq"]

_WEIGHT_POSITION = 1
_BIAS_POSITION = 2
_BIASED = ("Conv", "ConvTranspose", "Gemm")
_HEAVY = (*_BIASED, "MatMul")
_SLOW_ON_INTEGERS = ("AveragePool", "Softmax")


class LowerToQdq(LoweringPass):
    """Makes the QDQ model of a plan; see the module's rules."""

    name = "lower-to-qdq"

    def __init__(
        self, plan: QuantPlan, *, integer_bias: bool = True, onnxruntime_kernels: bool = True
    ) -> None:
        super().__init__(plan)
        self._integer_bias = integer_bias
        self._own_kernels = onnxruntime_kernels
        self._weights: dict[tuple[str, int], ir.Value] = {}
        self._absorbed: dict[tuple[str, int], ValuePlan] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Returns a new model; ``model`` stays as it is."""
        self._weights.clear()
        self._absorbed.clear()
        model = model.clone()
        graph = model.graph
        editor = GraphEditor(graph)
        nodes = list(graph)
        self._integer = {
            str(node.name)
            for node in nodes
            if len(node.inputs) > 1 and self._planned(node, _WEIGHT_POSITION) is not None
        }
        # not by name: a planned graph output gives its name to its DequantizeLinear
        planned_outputs = {
            id(out) for node in nodes for out in node.outputs if out.name in self.plan.values
        }
        self._writes_reals = {
            str(node.name)
            for node in nodes
            if str(node.name) in self.plan.float_nodes
            and not any(id(out) in planned_outputs for out in node.outputs)
        }
        self._pools_codes = {str(node.name) for node in nodes if self._planned(node, 0) is not None}
        split = split_readers(nodes, self.plan, self._integer, self._absorb_channels)
        for node in nodes:
            # in this order: each step looks inputs up by the names that the plan knows
            self._lower_bias(editor, node)
            if self._own_kernels:
                self._shield_float(editor, node)
            self._lower_weight(editor, node)
        write_float_layers(editor, nodes, self.plan)
        for value in [*graph.inputs, *(out for node in nodes for out in node.outputs)]:
            self._lower_uses(editor, value)
            self._lower_value(editor, value)
        for node in nodes:
            if node.op_type != "HardSwish" or str(node.name) in self.plan.float_nodes:
                continue
            if self._own_kernels and id(node.outputs[0]) in planned_outputs:
                hard_swish_on_codes(editor, node)
        cut_sums(editor, split)
        share_moments(editor)
        editor.drop_unused_constants()
        return ir.passes.PassResult(model, modified=True)

    def _planned(self, node: ir.Node, position: int) -> ValuePlan | None:
        """Returns the plan of an input; a node that was kept float sees its weights as floats."""
        if position >= len(node.inputs) or node.inputs[position] is None:
            return None
        if str(node.name) in self.plan.float_nodes and is_constant(node.inputs[position]):
            return None
        return self.plan.of(node.inputs[position].name, Use(node.name, position))  # type: ignore[union-attr, arg-type]

    def _lower_weight(self, editor: GraphEditor, node: ir.Node) -> None:
        """Rule 2."""
        for position, value in enumerate(node.inputs):
            weight = weight_of(value)
            plan = self._planned(node, position)
            if value is None or weight is None or plan is None:
                continue
            plan = self._absorb_channels(node, weight, plan)
            key = (str(value.name), id(plan))
            if key not in self._weights:
                codes = lowered_codes(editor, node, position, plan, self.plan)
                self._weights[key] = editor.dequantize(
                    codes, affine_of(plan), stem=str(value.name), after=codes.producer()
                )
            node.replace_input_with(position, self._weights[key])

    def _lower_bias(self, editor: GraphEditor, node: ir.Node) -> None:
        """Rule 3, after the plan's bias shift has been added."""
        x, w = self._planned(node, 0), self._planned(node, _WEIGHT_POSITION)
        if node.op_type == "MatMul":
            self._lower_added_bias(editor, node, x, w)
            return
        writing = writing_of(node, self.plan)
        if node.op_type not in _BIASED or w is None or (x is None and writing is None):
            return
        bias = node.inputs[_BIAS_POSITION] if len(node.inputs) > _BIAS_POSITION else None
        values = weight_of(bias)
        shift = self.plan.bias_shift.get(str(node.name))
        if bias is not None and values is None:
            return
        if values is None and shift is None and writing is None:
            return
        total = np.asarray((0 if values is None else values) + (0 if shift is None else shift))
        if writing is not None:
            total = total * writing.factor + writing.offset
        weight = weight_of(node.inputs[_WEIGHT_POSITION])
        if weight is not None:
            w = self._absorb_channels(node, weight, w)
        stem = str(bias.name) if bias is not None else f"{node.name}_bias"
        if bias is None:
            node.resize_inputs(_BIAS_POSITION + 1)
        if x is None or not self._integer_bias:
            if shift is None and writing is None:
                return
            replacement = editor.constant(f"{stem}_moved", np.asarray(total, np.float32))
        else:
            replacement = integer_bias(editor, stem, total.reshape(-1), x, w)
        node.replace_input_with(_BIAS_POSITION, replacement)

    def _absorb_channels(
        self, node: ir.Node, weight: npt.NDArray[np.float32], plan: ValuePlan
    ) -> ValuePlan:
        """Rule 7: returns the weight's plan with the channels' scales in its own; same codes."""
        writing = writing_of(node, self.plan)
        if writing is None:
            return plan
        key = (str(node.name), id(plan))
        if key not in self._absorbed:
            assert plan.params is not None
            scale = np.asarray(plan.params.scale * writing.factor, np.float32)
            zero_point = np.broadcast_to(plan.params.zero_point, scale.shape)
            codes = np.asarray(weight_codes(weight, plan), np.int32)
            spec = replace(plan.spec, granularity=PerAxis(0))
            params = QParams(scale, zero_point)
            self._absorbed[key] = replace(plan, spec=spec, params=params, codes=codes)
        return self._absorbed[key]

    def _lower_added_bias(
        self, editor: GraphEditor, node: ir.Node, x: ValuePlan | None, w: ValuePlan | None
    ) -> None:
        product = node.outputs[0]
        found = added_bias(product)
        if x is None or w is None or found is None or self.plan.of(str(product.name)) is not None:
            return
        add, position, values = found
        shift = self.plan.bias_shift.get(str(node.name))
        total = np.asarray(values + (0 if shift is None else shift), np.float32)
        stem = str(add.inputs[position].name)  # type: ignore[union-attr]
        if self._integer_bias:
            add.replace_input_with(position, integer_bias(editor, stem, total.reshape(-1), x, w))
        elif shift is not None:
            add.replace_input_with(position, editor.constant(f"{stem}_moved", total))

    def _shield_float(self, editor: GraphEditor, node: ir.Node) -> None:
        """Rule 4."""
        if self._planned(node, 0) is None or not self._would_be_quantized(node):
            return
        value = node.inputs[0]
        assert value is not None
        node.replace_input_with(0, editor.shield(value, before=node))

    def _reads_codes(self, node: ir.Node) -> bool:
        """Whether ``node`` is a convolution that takes a scale per channel into its weight."""
        return node.op_type == "Conv" and str(node.name) in self._integer

    def _would_be_quantized(self, node: ir.Node) -> bool:
        if node.op_type not in _HEAVY:
            unwanted = node.op_type in _SLOW_ON_INTEGERS or str(node.name) in self.plan.kept_float
            return unwanted and self.plan.of(str(node.outputs[0].name)) is not None
        if self._planned(node, _WEIGHT_POSITION) is not None:
            return False
        return weight_of(node.inputs[_WEIGHT_POSITION]) is not None

    def _codes(
        self, editor: GraphEditor, value: ir.Value, plan: ValuePlan, before: ir.Node | None
    ) -> ir.Value:
        """Adds QuantizeLinear, with rule 6's Clip for narrow types."""
        producer = value.producer()
        after = producer if before is None else None
        codes = editor.quantize(value, affine_of(plan), after=after, before=before)
        dtype = plan.spec.dtype
        if dtype.bits == dtype.storage.itemsize * 8:
            return codes
        bounds: list[ir.Value | None] = [
            editor.constant("code_bound", np.asarray(limit, dtype.storage))
            for limit in (dtype.qmin, dtype.qmax)
        ]
        return editor.node(
            "Clip",
            [codes, *bounds],
            stem=f"{value.name}_clipped",
            dtype=ir.DataType.from_numpy(dtype.storage),
            shape=value.shape,
            after=codes.producer(),
        )

    def _lower_uses(self, editor: GraphEditor, value: ir.Value) -> None:
        """Quantizes single uses whose plan differs from the value's."""
        made: dict[int, ir.Value] = {}
        for user, position in list(value.uses()):
            plan = self.plan.uses.get(Use(str(user.name), position))
            if plan is None:
                continue
            if id(plan) not in made:
                codes = self._codes(editor, value, plan, before=user)
                made[id(plan)] = editor.dequantize(
                    codes, affine_of(plan), stem=str(value.name), after=codes.producer()
                )
            user.replace_input_with(position, made[id(plan)])

    def _lower_value(self, editor: GraphEditor, value: ir.Value) -> None:
        """Rule 1."""
        plan = self.plan.values.get(str(value.name))
        if plan is None:
            return
        uses, producer = list(value.uses()), value.producer()
        real = producer is not None and str(producer.name) in self.plan.float_nodes
        # what goes in and out unchanged stays as it is; only its readers see codes
        leaves, name = value.is_graph_output() and not value.is_graph_input(), str(value.name)
        if leaves:
            value.name = editor.fresh(f"{name}_float")
        written = plan
        if plan.spec.axis is not None and plan.params is not None:
            written = replace(
                plan,
                spec=replace(plan.spec, granularity=PerTensor()),
                params=common_params(plan.params),
            )
        source = self._shielded_pool(editor, self._unclipped(value, plan))
        codes = self._codes(editor, source, written, before=None)
        inside = plan.spec.axis is not None and any(self._reads_codes(user) for user, _ in uses)
        read = written if inside else plan
        reals = editor.dequantize(codes, affine_of(read), stem=name, after=codes.producer())
        for user, position in uses:
            as_it_is = real and str(user.name) in self._writes_reals
            if not as_it_is and Use(str(user.name), position) not in self.plan.uses:
                user.replace_input_with(position, reals)
        if leaves:
            reals.name = name
            outputs = editor.graph.outputs
            outputs[list(outputs).index(value)] = reals
        replaced = value.producer()
        if replaced is not None and replaced.op_type == "Clip" and not value.uses():
            editor.graph.remove(replaced, safe=True)

    def _unclipped(self, value: ir.Value, plan: ValuePlan) -> ir.Value:
        """Rule 6 does an absorbed Clip's work: its bounds lie beyond those of narrow codes."""
        clip = value.producer()
        narrow = plan.spec.dtype.bits < plan.spec.dtype.storage.itemsize * 8
        if not narrow or clip is None or clip.op_type != "Clip" or clip.inputs[0] is None:
            return value
        return value if self._planned(clip, 0) is not None else clip.inputs[0]

    def _shielded_pool(self, editor: GraphEditor, value: ir.Value) -> ir.Value:
        """Rule 4 for a float MaxPool: onnxruntime would pool codes instead, in a slow layout."""
        pool = value.producer() if self._own_kernels else None
        if pool is None or pool.op_type != "MaxPool" or str(pool.name) in self._pools_codes:
            return value
        return editor.shield(value, after=pool)
