"""One block of a model: what it computes, and the gradient of its error by what is fed to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.autodiff.vjp import vjp
from onnxq.graph.edit import add_initializer
from onnxq.graph.names import Names
from onnxq.runtime.pieces import copied
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from onnxq.runtime.pieces import Piece
    from onnxq.runtime.session import Session

    Array = npt.NDArray[Any]

__all__ = ["BlockError", "block_model", "forward"]

_LOSS = "block_loss"


def block_model(piece: Piece) -> ir.Model:
    """Returns a piece as a model for any batch: no shape is recorded of what is computed."""
    graph = copied(piece)
    for value in (*graph.inputs, *(out for node in graph for out in node.outputs)):
        value.shape = None
    return ir.Model(graph, ir_version=piece.model.ir_version)


def forward(model: ir.Model, *, threads: int) -> Session:
    """Returns a session that runs a block as it is written."""
    return make_session(model, optimize=False, threads=threads)


class BlockError:
    """Weighted squared error of a block's outputs, and its gradient.

        loss = Σ_y Σ weight_y · (y - target_y)²

    Args:
        model: The block; left as it is.
        weights: Output → what its squared errors are multiplied by.
        learned: Names of the initializers to feed and differentiate by.
        feed: Inputs of the shapes to come.
        wanted: Outputs of the shapes to come.
        threads: Threads inside an operator.

    Raises:
        ModelError: There is no gradient by one of ``learned``.
    """

    def __init__(  # noqa: PLR0913 (a graph, what it is fed, and what is asked of it)
        self,
        model: ir.Model,
        weights: Mapping[str, float],
        learned: Sequence[str],
        feed: Mapping[str, Array],
        wanted: Mapping[str, Array],
        *,
        threads: int,
    ) -> None:
        copy = model.clone()
        self._targets = _add_loss(copy, weights)
        targets = {target: wanted[name] for name, target in self._targets.items()}
        found = vjp(copy, learned, {**feed, **targets}, fed=learned, threads=threads)
        (cotangent,) = found.cotangents.values()
        self._seed = {cotangent: np.ones((), np.float32)}
        self._gradients = found.gradients
        self._session = make_session(found.model, threads=threads)

    def run(
        self, feed: Mapping[str, Array], wanted: Mapping[str, Array], learned: Mapping[str, Array]
    ) -> tuple[float, dict[str, Array]]:
        """Returns the loss, and the gradient by each of what is learned."""
        targets = {target: wanted[name] for name, target in self._targets.items()}
        known = {**feed, **targets, **learned, **self._seed}
        made = self._session.run({name: known[name] for name in self._session.inputs})
        return float(made[_LOSS]), {name: made[out] for name, out in self._gradients.items()}


def _add_loss(model: ir.Model, weights: Mapping[str, float]) -> dict[str, str]:
    """Makes the loss the only output; returns output → input that takes its target."""
    graph, names = model.graph, Names(model.graph)
    targets, terms = {}, []
    for value in list(graph.outputs):
        target = ir.val(names.fresh(f"{value.name}_target"), ir.DataType.FLOAT)
        graph.inputs.append(target)
        targets[str(value.name)] = str(target.name)
        weight = add_initializer(
            graph, "error_weight", np.asarray(weights[str(value.name)], np.float32), names=names
        )
        last = value
        for op_type, other in (("Sub", target), ("Mul", None), ("Mul", weight)):
            node = ir.node(op_type, [last, last if other is None else other])
            graph.append(node)
            last = node.outputs[0]
            _name(last, names)
        node = ir.node("ReduceSum", [last], {"keepdims": 0})
        graph.append(node)
        terms.append(node.outputs[0])
        _name(terms[-1], names)
    total = ir.node("Sum", terms)
    graph.append(total)
    total.outputs[0].name = _LOSS
    total.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph.outputs[:] = [total.outputs[0]]
    return targets


def _name(value: ir.Value, names: Names) -> None:
    value.name = names.fresh("block_error")
    value.type = ir.TensorType(ir.DataType.FLOAT)
