"""Lowering of plans that quantize weights alone; activations stay float.

A weight reaches its node in one of two forms. Both are the same function; they differ in what
onnxruntime makes of them (measured on 1.32, x86-64 with and without VNNI):

1. ``Cast(codes) · scale``, which onnxruntime folds into a float weight as it loads the model: small
   file, float speed. For everything but
2. ``DequantizeLinear`` in front of a matrix product of one row with a large weight, which becomes
   MatMulNBits: the weight stays small in memory too, and reading it is what takes the time there
   (1.1 to 2 times as fast from 2¹⁶ elements on; with more rows, without VNNI, it is slower). The
   kernel rounds the input to 8 bits by blocks of its own, which adds an error as large as the
   weight's. It needs a Gemm with alpha = beta = 1, a bias of one number per channel and nothing
   transposed, so transposed weights are stored the other way round, and a weight that nothing
   else reads. onnxruntime before 1.25 does not do this, and is 17 times slower there
   than on float weights.
3. A Relu or Clip behind such a product that one node alone reads becomes Max and Min: onnxruntime
   takes it for the end of a quantized layer and leaves the product as it is, so that every run
   dequantizes the weight (1.32; 4 times as slow as with float weights).

Weights of few bits are stored packed (``onnxq.graph.packed``), in either form.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from onnxq.errors import PlanError
from onnxq.graph.bias import add_to_bias, added_bias
from onnxq.graph.packed import packed_codes
from onnxq.graph.qdq import Affine, GraphEditor
from onnxq.graph.query import only_use, shape_of, weight_of
from onnxq.graph.roles import attribute, is_constant, weight_channel_axis
from onnxq.graph.shared_moments import share_moments
from onnxq.passbase import LoweringPass
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.scaled_weight import scaled_weight, stored_zero_point
from onnxq.plan.spec import PerAxis, PerBlock, PerTensor
from onnxq.plan.weight_codes import weight_codes

__all__ = ["LowerWeightsOnly"]

_WEIGHT_POSITION = 1
_BIAS_POSITION = 2
_LEAST_PRODUCT = 1 << 16
_LEAST_BLOCK = 16


class LowerWeightsOnly(LoweringPass):
    """Makes a model whose planned weights are stored as integers; see the module's rules."""

    name = "lower-weights-only"

    def __init__(self, plan: QuantPlan) -> None:
        super().__init__(plan)
        self._folded: dict[tuple[str, int], ir.Value] = {}
        self._alone: set[str] = set()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Returns a new model; ``model`` stays as it is.

        Raises:
            PlanError: The plan quantizes more than weights, or weights by blocks of uneven size.
        """
        model = model.clone()
        self._refuse(model.graph)
        self._folded.clear()
        weights = model.graph.initializers.items()
        self._alone = {name for name, value in weights if len(list(value.uses())) == 1}
        editor, thin = GraphEditor(model.graph), []
        for node in list(model.graph):
            for position, value in enumerate(node.inputs):
                weight = weight_of(value)
                if value is None or weight is None:
                    continue
                plan = self.plan.of(str(value.name), Use(str(node.name), position))
                if plan is not None and self._lower_weight(editor, node, position, plan):
                    thin.append(node)
            self._lower_shift(editor, node)
        for node in thin:
            _free_of_bounds(editor, node)
        share_moments(editor)
        editor.drop_unused_constants()
        return ir.passes.PassResult(model, modified=True)

    def _refuse(self, graph: ir.Graph) -> None:
        uses = ((node, use) for node in graph for use in range(len(node.inputs)))
        coded = [n.inputs[i] for n, i in uses if Use(str(n.name), i) in self.plan.uses]
        values = [*graph.inputs, *(out for node in graph for out in node.outputs), *coded]
        for value in values:
            if value is None or is_constant(value):
                continue
            if str(value.name) in self.plan.values or value in coded:
                raise PlanError(
                    f"the plan quantizes '{value.name}', which is no weight; give --data, "
                    "or a plan of weights alone"
                )
        for name, plan in self.plan.values.items():
            blocks, shape = plan.spec.granularity, shape_of(graph.initializers.get(name))
            if not isinstance(blocks, PerBlock) or shape is None:
                continue
            length = shape[blocks.axis]
            if length is None or length % blocks.size:
                raise PlanError(
                    f"the plan quantizes weight '{name}' by blocks of {blocks.size}, which do not "
                    f"divide its {length} channels; choose another size"
                )

    def _lower_weight(
        self, editor: GraphEditor, node: ir.Node, position: int, plan: ValuePlan
    ) -> bool:
        """Returns whether rule 2 applied."""
        value = node.inputs[position]
        assert value is not None
        alone = str(value.name) in self._alone
        thin = alone and position == _WEIGHT_POSITION and _is_thin_product(node, plan)
        make = _dequantized if thin else self._folded_weight
        node.replace_input_with(position, make(editor, node, value, plan))
        return thin

    def _folded_weight(
        self, editor: GraphEditor, node: ir.Node, value: ir.Value, plan: ValuePlan
    ) -> ir.Value:
        """Rule 1."""
        key = (str(value.name), id(plan))
        if key not in self._folded:
            self._folded[key] = scaled_weight(editor, value, plan, before=node)
        return self._folded[key]

    def _lower_shift(self, editor: GraphEditor, node: ir.Node) -> None:
        shift = self.plan.bias_shift.get(str(node.name))
        if shift is not None:
            add_to_bias(editor, node, shift)


def _dequantized(editor: GraphEditor, node: ir.Node, value: ir.Value, plan: ValuePlan) -> ir.Value:
    """Rule 2."""
    assert plan.params is not None
    weight, granularity = weight_of(value), plan.spec.granularity
    assert weight is not None
    codes = weight_codes(np.asarray(weight, np.float32), plan)
    scale, zero_point = plan.params.scale, stored_zero_point(plan)
    axis = None if isinstance(granularity, PerTensor) else granularity.axis
    block = granularity.size if isinstance(granularity, PerBlock) else None
    if attribute(node, "transB", 0):
        node.attributes.pop("transB")
        codes, axis = codes.T, None if axis is None else 1 - axis
        scale, zero_point = scale.T, None if zero_point is None else zero_point.T
    stored = packed_codes(editor, f"{value.name}_codes", codes, plan.spec.dtype.bits)
    affine = Affine(scale, zero_point, axis, block)
    return editor.dequantize(stored, affine, stem=str(value.name), before=node)


def _free_of_bounds(editor: GraphEditor, product: ir.Node) -> None:
    """Rule 3."""
    value = product.outputs[0]
    if (added := added_bias(value)) is not None:
        value = added[0].outputs[0]
    use = only_use(value)
    if use is None or only_use(use.node.outputs[0]) is None:
        return
    node = use.node
    low, high = (*node.inputs[1:], None, None)[:2]
    if node.op_type == "Relu":
        low = editor.constant(f"{node.name}_zero", np.zeros((), np.float32))
    elif node.op_type != "Clip" or (low is None and high is None):
        return
    if low is not None and high is not None:
        dtype, stem = value.dtype or ir.DataType.FLOAT, f"{value.name}_raised"
        raised = editor.node(
            "Max", [value, low], stem=stem, dtype=dtype, shape=value.shape, before=node
        )
        node.replace_input_with(0, raised)
    node.op_type = "Max" if high is None else "Min"
    node.resize_inputs(2)
    node.replace_input_with(1, low if high is None else high)


def _is_thin_product(node: ir.Node, plan: ValuePlan) -> bool:
    """Rule 2's conditions; an unknown first dimension is a batch of one."""
    if node.op_type not in ("MatMul", "Gemm"):
        return False
    dims, shape = shape_of(node.inputs[_WEIGHT_POSITION]), shape_of(node.outputs[0])
    axis = weight_channel_axis(node)
    if dims is None or shape is None or len(dims) != 2:
        return False
    if plan.spec.granularity != PerAxis(axis) and not _in_kernel_blocks(plan, 1 - axis):
        return False
    if node.op_type == "Gemm" and not _is_plain_gemm(node, channels=dims[axis]):
        return False
    rows = [1 if i == 0 and dim is None else dim for i, dim in enumerate(shape[:-1])]
    return all(dim == 1 for dim in rows) and math.prod(d or 0 for d in dims) >= _LEAST_PRODUCT


def _in_kernel_blocks(plan: ValuePlan, axis: int) -> bool:
    """Whether a weight has a scale per block of a size that the kernel knows."""
    blocks = plan.spec.granularity
    if not isinstance(blocks, PerBlock) or blocks.axis != axis:
        return False
    return blocks.size >= _LEAST_BLOCK and blocks.size.bit_count() == 1


def _is_plain_gemm(node: ir.Node, channels: int | None) -> bool:
    """Whether a Gemm is a product plus, if anything, one number per output channel."""
    wanted = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    if any(attribute(node, name, number) != number for name, number in wanted.items()):
        return False
    bias = node.inputs[_BIAS_POSITION] if len(node.inputs) > _BIAS_POSITION else None
    return bias is None or shape_of(bias) == (channels,)
