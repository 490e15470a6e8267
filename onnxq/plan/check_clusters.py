"""Whether the clusters of a plan fit its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import weight_channel_axis
from onnxq.plan.channels import has_channels
from onnxq.plan.cluster_sites import float_chain, readers_fault, value_fault, written_value
from onnxq.plan.clusters import columns_of, input_axis
from onnxq.plan.spec import PerAxis, PerTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir

    from onnxq.plan.clusters import Cluster, ClusterSplit
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.plan.target import Target

__all__ = ["cluster_violations"]


def cluster_violations(
    plan: QuantPlan, values: Mapping[str, ir.Value], target: Target
) -> Iterator[str]:
    """Yields what is wrong with the clusters of ``plan``.

    1. The value is planned with one scale, and it and its readers can be cut
       (``onnxq.plan.cluster_sites``): what writes it is float.
    2. The parts hold channels that the readers' weights have, each once, and not all of them.
    3. Every part has one scale, and a plan of its columns of each reader's weight: symmetric, with
       one scale or one per output channel, and codes of the columns' shape, if any.
    4. A convolution's partial sums have one scale, and so has a Relu or Clip that they vanish into;
       other nodes have float ones.

    Args:
        plan: What to check.
        values: Every value of the model by its name.
        target: What the quantized model will run on.
    """
    for name, split in plan.clusters.items():
        if name not in values:
            yield f"clusters of '{name}': the model has no such value; remove them"
            continue
        fault = _fault(values[name], split, plan, target)
        if fault is not None:
            yield f"clusters of '{name}': {fault}; remove them, or make a new plan"


def _fault(value: ir.Value, split: ClusterSplit, plan: QuantPlan, target: Target) -> str | None:
    planned = plan.values.get(str(value.name))
    if planned is None or not isinstance(planned.spec.granularity, PerTensor):
        return "it is not planned with one scale"
    readers = [node for node in value.consumers() if input_axis(node) is not None]
    fault = value_fault(value, target, plan) or readers_fault(value, readers, plan)
    if fault is not None:
        return fault
    chain = float_chain(value, target, plan)
    if isinstance(chain, str) or chain.nodes:
        return "what writes it runs on integers"
    for node in readers:
        if fault := _reader_fault(node, split, plan, planned):
            return fault
    return None


def _reader_fault(  # noqa: PLR0911 (a list of conditions)
    node: ir.Node, split: ClusterSplit, plan: QuantPlan, whole: ValuePlan
) -> str | None:
    name, shape, axis = str(node.name), shape_of(node.inputs[1]), input_axis(node)
    assert shape is not None
    assert axis is not None
    size, taken = shape[axis] or 0, split.taken
    if taken.size != np.unique(taken).size or taken.max() >= size or taken.size >= size:
        return f"not each once among the {size} channels that '{name}' reads, and not all of them"
    for part in split.parts:
        same = part.value.spec == whole.spec and part.value.params is not None
        if not same:
            return "a part needs a scale, and the dtype of the whole value"
        if name not in part.weights or not _fits(node, part, plan):
            return f"a part has no fitting plan of its columns of the weight of '{name}'"
    between = split.sums.get(name)
    if node.op_type != "Conv":
        return None if between is None else f"the partial sums of '{name}' are float"
    behind = written_value(node, plan)
    written = plan.values[str(behind.name)]
    if between is None or between.params is None or between.spec.axis is not None:
        return f"the partial sums of '{name}' need one scale"
    if between.spec.dtype != written.spec.dtype:
        return f"'{name}' and its partial sums need one dtype"
    if has_channels(written) and behind != node.outputs[0]:
        return f"'{name}' must write one scale in front of {node.outputs[0].consumers()[0].op_type}"
    return None


def _fits(node: ir.Node, part: Cluster, plan: QuantPlan) -> bool:
    planned = part.weights[str(node.name)]
    whole = plan.values[str(node.inputs[1].name)]  # type: ignore[union-attr]
    weight, axis = weight_of(node.inputs[1]), weight_channel_axis(node)
    assert weight is not None
    columns = columns_of(node, weight, part.channels)
    codes, params, granularity = planned.codes, planned.params, planned.spec.granularity
    if params is None or planned.spec.dtype != whole.spec.dtype:
        return False
    if codes is not None and codes.shape != columns.shape:
        return False
    if isinstance(granularity, PerTensor):
        return params.scale.ndim == 0
    return granularity == PerAxis(axis) and params.scale.shape == (columns.shape[axis],)
