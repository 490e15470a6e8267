"""Values inside a model as its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

__all__ = ["expose", "produced_values"]


def produced_values(model: ir.Model) -> dict[str, ir.Value]:
    """Returns name → value for all that the main graph's nodes produce, in graph order."""
    return {value.name: value for node in model.graph for value in node.outputs if value.name}


def expose(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """Returns a copy of ``model`` whose outputs are the values called ``names``.

    The copy shares the weights. Names that no node of the main graph produces (inputs, weights,
    values inside subgraphs) are left out. Recorded shapes of the new outputs are dropped, so that
    a stale one is no contradiction; onnxruntime infers them.

    Args:
        model: Left as it is.
        names: Value names; duplicates count once. The outputs come in graph order.

    Returns:
        The copy.
    """
    copy = model.clone()
    wanted = set(names)
    kept = [value for name, value in produced_values(copy).items() if name in wanted]
    for value in kept:
        value.shape = None
    copy.graph.outputs[:] = kept
    return copy
