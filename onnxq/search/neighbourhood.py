"""The params that a few changed values decide, without making the whole quantized model again.

What a lowering makes of a value depends on the nodes around it. So the part of the float model
within two steps of the changed values is lowered on its own, and the params with the names that the
whole model has are taken from it.

It is held against the whole model first, with the plan that is known: where a name means something
else in the part (a constant with several readers), the part is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import read_values
from onnxq.runtime.pieces import Piece, copied

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import numpy.typing as npt

    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.search.simulation import Simulate

    Params = Mapping[str, npt.NDArray[Any]]

__all__ = ["Neighbourhood"]

_STEPS = 2


class Neighbourhood:
    """The part of a model around some values.

    Attributes:
        around: Names of the values.
        usable: Whether params can be taken from the part.
    """

    def __init__(
        self,
        model: ir.Model,
        simulate: Simulate,
        around: Collection[str],
        plan: QuantPlan,
        known: Params,
    ) -> None:
        """Cuts the part out and checks it.

        Args:
            model: The float model; never changed.
            simulate: Makes the quantized model of a plan.
            around: Names of the values whose ranges or codes will change, weights among them.
            plan: A plan of the whole model.
            known: Its params.
        """
        self.around = frozenset(around)
        self._simulate = simulate
        self._part, ends = _part(model, self.around)
        found = simulate(self._part, plan).params
        self._all = set(found)
        self._names = [name for name in found if name in known]
        foreign = [name for name in found if name not in known]
        self.usable = all(np.array_equal(found[name], known[name]) for name in self._names) and all(
            any(name.startswith(f"{end}_") for end in ends) for name in foreign
        )

    def params(self, plan: QuantPlan) -> dict[str, npt.NDArray[Any]] | None:
        """Returns the params around the values for a plan that differs there alone.

        Returns:
            None where the plan leads to other nodes: a HardSwish that is exact on codes no more.
        """
        found = self._simulate(self._part, plan).params
        if found.keys() != self._all:
            return None
        return {name: found[name] for name in self._names}


def _part(model: ir.Model, around: Collection[str]) -> tuple[ir.Model, list[str]]:
    """Returns the part and the names of the values where it ends."""
    order = {node: number for number, node in enumerate(model.graph)}
    inputs = [value for value in model.graph.inputs if value.name in around]
    made = [value for node in order for value in node.outputs if value.name in around]
    weights = [value for name, value in model.graph.initializers.items() if name in around]
    nodes: set[ir.Node] = set()
    frontier: list[ir.Value] = [*inputs, *made, *weights]
    for _ in range(_STEPS):
        step = {node for value in frontier for node in _touching(value) if node in order}
        frontier = [v for node in step - nodes for v in (*node.inputs, *node.outputs) if v]
        frontier = [value for value in frontier if value.const_value is None]
        nodes |= step
    chosen = sorted(nodes, key=order.__getitem__)
    written = {value for node in chosen for value in node.outputs}
    reads = dict.fromkeys(
        str(value.name)
        for node in chosen
        for value in read_values(node)
        if value.const_value is None and value not in written
    )
    ends = [
        str(value.name)
        for node in chosen
        for value in node.outputs
        if value.name and (value.is_graph_output() or _leaves(value, nodes))
    ]
    piece = copied(Piece(model, tuple(chosen), tuple(reads), tuple(ends)))
    return ir.Model(piece, ir_version=model.ir_version), ends


def _touching(value: ir.Value) -> Iterable[ir.Node]:
    producer = value.producer()
    return [*value.consumers(), *([producer] if producer is not None else [])]


def _leaves(value: ir.Value, nodes: Collection[ir.Node]) -> bool:
    users = value.consumers()
    return not users or any(user not in nodes for user in users)
