"""Through what a node lets an order of axes pass, and what it takes to edit the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.query import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from onnxq.graph.axis_order import Order

__all__ = ["Family", "Ports", "rank_of"]


def rank_of(value: ir.Value | None) -> int | None:
    """Returns the rank of ``value``, None if it is not known."""
    shape = shape_of(value)
    return None if shape is None else len(shape)


def _any_order(order: Order) -> bool:
    del order
    return True


@dataclass(frozen=True)
class Ports:
    """Through what a node lets an order of axes pass.

    Attributes:
        inputs: Positions of the inputs that have the order, all of one rank.
        outputs: Positions of the outputs that have it too, of the same rank.
        fits: Says whether the node may have its axes in that order, seen from the present one.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fits: Callable[[Order], bool] = _any_order


class Family(NamedTuple):
    """Operators that are asked and edited alike.

    Attributes:
        ports: Returns the ports of a node, None if it has none.
        edit: Changes constants and attributes of a node to a new order of its ports' axes, seen
            from the present one.
    """

    ports: Callable[[ir.Node], Ports | None]
    edit: Callable[[ir.Node, Order], None]
