"""Large weights that travel to onnxruntime beside the model, not in it.

A session is made from a protobuf, which holds less than 2 GB and is made, sent and parsed in
memory. So large weights are left out of it. Those in a file of the user's stay there: onnxruntime
maps it itself. Others are lent as arrays, which may be mapped too, and which it copies once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["Lent", "lend_weights"]

_LEAST = 1 << 20
_NOWHERE = "lent"


@dataclass(frozen=True, eq=False)
class Lent:
    """A model and its large weights, apart.

    Attributes:
        model: Refers to them as external data; all others are inside.
        folder: Where their files are, None if there is none.
        arrays: Name → array of those that are in no file.
        inside: Bytes of the weights that are left in ``model``.
    """

    model: ir.Model
    folder: Path | None
    arrays: Mapping[str, npt.NDArray[Any]]
    inside: int


def lend_weights(model: ir.Model) -> Lent:
    """Takes the large weights out of a copy of ``model``.

    Weights of subgraphs, and arrays of types that are not numpy's own, stay inside.
    """
    copy = model.clone()
    folder = _common_folder(copy)
    lent: dict[str, npt.NDArray[Any]] = {}
    inside = 0
    for graph in copy.graphs():
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if tensor is None:
                continue
            outer = graph is copy.graph and tensor.nbytes >= _LEAST and not value.is_graph_input()
            if outer and _folder_of(tensor) is not None and _folder_of(tensor) == folder:
                continue
            if outer and _is_plain(tensor):
                lent[name] = np.ascontiguousarray(tensor.numpy())
                value.const_value = _reference(tensor, name)
                continue
            inside += tensor.nbytes
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
    return Lent(copy, folder, lent, inside)


def _common_folder(model: ir.Model) -> Path | None:
    """Returns the folder that holds the files of most external weights."""
    tensors = (value.const_value for value in model.graph.initializers.values())
    folders = Counter(folder for t in tensors if t is not None and (folder := _folder_of(t)))
    return folders.most_common(1)[0][0] if folders else None


def _folder_of(tensor: ir.TensorProtocol) -> Path | None:
    if not isinstance(tensor, ir.ExternalTensor) or not tensor.base_dir:
        return None
    return Path(tensor.base_dir)


def _is_plain(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype.bitwidth >= 8 and tensor.dtype.numpy().kind in "biuf"


def _reference(tensor: ir.TensorProtocol, name: str) -> ir.ExternalTensor:
    shape = ir.Shape(tensor.shape.numpy())
    return ir.ExternalTensor(_NOWHERE, 0, tensor.nbytes, tensor.dtype, shape=shape, name=name)
