"""What a model wants at its inputs, from its signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.data.base import InputSpec
from onnxq.errors import ModelError

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["input_specs"]


def input_specs(model: ir.Model) -> list[InputSpec]:
    """Returns name, dtype and shape of every input that has no default.

    Raises:
        ModelError: An input is no plain array, or states no type or rank.
    """
    specs = []
    for value in model.graph.inputs:
        if value.const_value is not None:
            continue
        if value.dtype is None or value.shape is None:
            raise ModelError(f"input '{value.name}' states no type or shape; export it again")
        shape = tuple(dim if isinstance(dim, int) else None for dim in value.shape)
        specs.append(InputSpec(str(value.name), value.dtype.numpy(), shape))
    return specs
