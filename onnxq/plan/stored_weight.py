"""Weights of layers that compute in float, stored as integers: which can be, and how."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.query import heavy, weight_of
from onnxq.graph.roles import weight_channel_axis
from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import PerAxis, PerTensor, QuantSpec
from onnxq.plan.weight_params import weight_params

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

    from onnxq.plan.spec import IntType

__all__ = ["LEAST_STORED", "stays_float", "stored_weight"]

LEAST_STORED = 1024
"""Fewest elements of a weight for which the file shrinks."""

_WEIGHT_POSITION = 1


def stays_float(value: ir.Value, keep_float: Iterable[str], least: int = LEAST_STORED) -> bool:
    """Returns whether a weight has to be stored as it is.

    It has to if a node that reads it is to stay float because the user says so, if it is too small,
    if something other than heavy nodes of the main graph reads it or it is an output, or if it is
    not float32, or not finite.

    Args:
        value: The weight of a heavy node.
        keep_float: Patterns (as in fnmatch) of node names.
        least: Fewest elements for which it pays.
    """
    weight = weight_of(value)
    assert weight is not None
    for user, position in value.uses():
        if any(fnmatch.fnmatchcase(str(user.name), pattern) for pattern in keep_float):
            return True
        if position != _WEIGHT_POSITION or not heavy(user) or user.graph is not value.graph:
            return True
    if value.is_graph_output() or weight.size < least or weight.dtype != np.float32:
        return True
    return not np.isfinite(weight).all()


def stored_weight(node: ir.Node, dtype: IntType, *, per_channel: bool = True) -> ValuePlan:
    """Returns how the weight of a heavy node is stored, by its own values alone.

    Args:
        node: It computes in float.
        dtype: Of the codes.
        per_channel: One scale per output channel instead of one for all.
    """
    granularity = PerAxis(weight_channel_axis(node)) if per_channel else PerTensor()
    spec = QuantSpec(dtype, True, granularity)
    weight = np.asarray(weight_of(node.inputs[_WEIGHT_POSITION]), np.float32)
    return ValuePlan(spec, weight_params(weight, spec))
