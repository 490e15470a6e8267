"""Whether a written model computes the same at every optimization level, to within one code.

onnxruntime fuses QuantizeLinear, DequantizeLinear and what is between them into integer kernels at
its full level and runs them one by one at none. Both round what falls on an edge between two codes
their own way, so two statements hold, and together they are what "equal" can mean:

1. What a model quantizes last on the way to an output differs by one code at most.
2. From these codes on there is float arithmetic alone: from the same codes it gives the same
   output, to within float32's rounding (1e-5 of the largest; half precision is rounded again).
   A choice among numbers, such as that of boxes, is the same one.

A bound on the output alone would have to know how much the float part magnifies a code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxq.graph.query import read_values
from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Feeds = Mapping[str, npt.NDArray[Any]]

__all__ = ["assert_levels_agree"]

_ROUNDING = {np.dtype(np.float16): 2e-3}


def assert_levels_agree(quantized: ir.Model, feed: Feeds) -> None:
    """Asserts both statements of the module.

    Args:
        quantized: What was written.
        feed: Inputs.
    """
    inside, tail = _with_codes(quantized), _behind_codes(quantized)
    names = [value.name for value in inside.graph.outputs[len(quantized.graph.outputs) :]]
    plain, fused = run(inside, feed), run(inside, feed, "all")
    for name in names:
        apart = np.abs(plain[str(name)].astype(int) - fused[str(name)].astype(int)).max()
        assert apart <= 1, f"{name}: {apart} codes apart"
    codes = {str(name): fused[str(name)] for name in names}
    wanted = run(tail, {**feed, **codes})
    found = run(quantized, feed, "all")
    for name, array in wanted.items():
        _assert_rounded(name, array, found[name])


def _assert_rounded(name: str, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
    if not np.issubdtype(wanted.dtype, np.floating):
        np.testing.assert_array_equal(found, wanted, err_msg=name)
        return
    largest = float(np.abs(wanted, dtype=np.float64).max(initial=0))
    bound = _ROUNDING.get(wanted.dtype, 1e-5) * largest
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound, err_msg=name)


def _last_codes(graph: ir.Graph) -> list[ir.Value]:
    """The codes nearest to the outputs: there are no others on the way to an output."""
    stack, seen, found = list(graph.outputs), set(), {}
    while stack:
        node = stack.pop().producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.op_type == "QuantizeLinear":
            found[node.outputs[0].name] = node.outputs[0]
        else:
            stack += read_values(node)
    return [found[name] for name in sorted(found, key=str)]


def _with_codes(model: ir.Model) -> ir.Model:
    """The model with its last codes as further outputs."""
    model = model.clone()
    model.graph.outputs.extend(_last_codes(model.graph))
    return model


def _behind_codes(model: ir.Model) -> ir.Model:
    """What is behind the last codes, which become inputs."""
    model = model.clone()
    for codes in _last_codes(model.graph):
        given = ir.Value(name=codes.name, type=codes.type, shape=codes.shape)
        codes.name = f"{codes.name}_before"
        codes.replace_all_uses_with(given)
        model.graph.inputs.append(given)
    RemoveUnusedNodesPass()(model)
    return model
