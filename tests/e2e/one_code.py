"""Whether a written model computes the same at every optimization level, to within one code.

onnxruntime fuses QuantizeLinear, DequantizeLinear and what is between them into integer kernels at
its full level and runs them one by one at none. A result on the edge between two codes may then be
rounded the other way. Behind it, layer by layer, such a code moves others: no bound on the whole
model's outputs is both true of every model and worth asserting. What holds is

1. of every layer: from the same codes, its codes at both levels differ by one at most;
2. of the float arithmetic behind the last codes: from the same codes, the outputs are the same to
   within float32's rounding (1e-5 of the largest; half precision is rounded again). A choice among
   numbers, such as that of boxes, is the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Feeds = Mapping[str, npt.NDArray[Any]]

__all__ = ["assert_levels_agree"]

_ROUNDING = {np.dtype(np.float16): 2e-3}
_AGAIN = "_again"


def assert_levels_agree(quantized: ir.Model, feed: Feeds) -> None:
    """Asserts both statements of the module.

    Args:
        quantized: What was written.
        feed: Inputs.
    """
    outputs = [str(value.name) for value in quantized.graph.outputs]
    fused = run(_with_codes(quantized), feed, "all")
    codes = {name: array for name, array in fused.items() if name not in outputs}
    plain = run(_layer_by_layer(quantized), {**feed, **codes})
    for name, array in codes.items():
        apart = np.abs(plain[name + _AGAIN].astype(int) - array.astype(int)).max(initial=0)
        assert apart <= 1, f"{name}: {apart} codes apart"
    found = run(quantized, feed, "all")
    for name in outputs:
        _assert_rounded(name, plain[name], found[name])


def _assert_rounded(name: str, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
    if not np.issubdtype(wanted.dtype, np.floating):
        np.testing.assert_array_equal(found, wanted, err_msg=name)
        return
    largest = float(np.abs(wanted, dtype=np.float64).max(initial=0))
    bound = _ROUNDING.get(wanted.dtype, 1e-5) * largest
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound, err_msg=name)


def _codes(graph: ir.Graph) -> list[ir.Value]:
    return [node.outputs[0] for node in graph if node.op_type == "QuantizeLinear"]


def _with_codes(model: ir.Model) -> ir.Model:
    """The model with all its codes as further outputs."""
    model = model.clone()
    model.graph.outputs.extend(_codes(model.graph))
    return model


def _layer_by_layer(model: ir.Model) -> ir.Model:
    """The model with codes as inputs; those that it computes of them are further outputs."""
    model = model.clone()
    for codes in _codes(model.graph):
        given = ir.Value(name=codes.name, type=codes.type, shape=codes.shape)
        codes.name = f"{codes.name}{_AGAIN}"
        codes.replace_all_uses_with(given)
        model.graph.inputs.append(given)
        model.graph.outputs.append(codes)
    return model
