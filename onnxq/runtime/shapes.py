"""The shapes that a sample gives to a model's values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.runtime.session import run_model

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.runtime.session import Feed

__all__ = ["observed_shapes"]

_AT_ONCE = 48


def observed_shapes(model: ir.Model, feed: Feed, *, threads: int = 1) -> dict[str, tuple[int, ...]]:
    """Returns value name → shape for the inputs and all values of the main graph.

    The model runs several times with some of the values as outputs each, so that never all of them
    are alive together.

    Args:
        model: Left as it is.
        feed: One sample.
        threads: Threads inside an operator.
    """
    shapes = {name: tuple(array.shape) for name, array in feed.items()}
    names = [str(out.name) for node in model.graph for out in node.outputs]
    for start in range(0, len(names), _AT_ONCE):
        arrays = run_model(model, feed, names[start : start + _AT_ONCE], threads=threads)
        shapes |= {name: tuple(array.shape) for name, array in arrays.items()}
    return shapes
