"""Inputs and outputs that are codes: their meaning, which the model's metadata tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.integer_io import KEY
from onnxq.numerics.affine import quantize
from onnxq.reference.integers import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["codes_of", "meanings", "with_float_inputs"]


def meanings(model: ir.Model) -> dict[str, dict[str, Any]]:
    """Returns name of an input or output → scale, zero_point and, with channels, axis."""
    told = json.loads(model.metadata_props.get(KEY, "{}"))
    return {
        name: {key: value for key, value in meaning.items() if key != "type"}
        for name, meaning in told.items()
    }


def with_float_inputs(model: ir.Model) -> ir.Model:
    """Returns a copy whose inputs say that they take the numbers that codes stand for."""
    told, copy = meanings(model), model.clone()
    for value in copy.graph.inputs:
        if value.name in told:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    return copy


def codes_of(model: ir.Model, feed: Mapping[str, Array]) -> dict[str, Array]:
    """Returns a feed of the model with float inputs as one of the model itself."""
    told = meanings(model)
    types = {str(value.name): value.dtype for value in model.graph.inputs}
    codes = {}
    for name, array in feed.items():
        dtype, meaning = types[name], told.get(name)
        if meaning is None or dtype is None:
            codes[name] = array
            continue
        scale, zero = np.float32(meaning["scale"]), np.int32(meaning["zero_point"])
        found = quantize(
            array, np.asarray(scale), np.asarray(zero), limits(dtype.numpy()), meaning.get("axis")
        )
        codes[name] = found.astype(dtype.numpy())
    return codes
