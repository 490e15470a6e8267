"""Mul, Div, Add and Sub by a constant, seen alike: y = scale · x + shift per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.graph.query import is_op, weight_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]

__all__ = ["Affine", "affine_input", "read_affine"]


class Affine(NamedTuple):
    """y = scale · x + shift; both float64 [channels]."""

    scale: Array
    shift: Array


def affine_input(node: ir.Node) -> ir.Value | None:
    """Returns x if ``node`` is a Mul, Div, Add or Sub of x and a constant; else None."""
    if not is_op(node, "Mul", "Div", "Add", "Sub"):
        return None
    data = [value for value in node.inputs if weight_of(value) is None]
    return data[0] if len(data) == 1 else None


def read_affine(node: ir.Node, channels: int, rank: int, axis: int) -> Affine | str:
    """Reads what ``node`` does to each channel.

    Args:
        node: One for which :func:`affine_input` returns a value.
        channels: The number of channels of x.
        rank: The rank of x, or a lower bound of it.
        axis: The axis of x that holds the channels, counted from the end (negative).

    Returns:
        Scale and shift, or the reason why there are none: the constant is no finite float, is not
        one number per channel, widens the shape of x by numpy's broadcasting, or divides badly.
    """
    first = node.inputs[1] is affine_input(node)
    raw = weight_of(node.inputs[0 if first else 1])
    assert raw is not None
    if raw.dtype.kind != "f" or not np.isfinite(raw).all():
        return "its constant is not finite float"
    constant = _per_channel(raw.astype(np.float64), channels, rank, axis)
    if constant is None:
        return f"its constant {list(raw.shape)} is not one number per channel"
    return _compute(node.op_type, constant, first=first)


def _compute(op_type: str, constant: Array, *, first: bool) -> Affine | str:
    """Reads the operator; ``first`` says that the constant is its first operand."""
    one, zero = np.ones(constant.size), np.zeros(constant.size)
    if op_type == "Mul":
        return Affine(constant, zero)
    if op_type == "Add":
        return Affine(one, constant)
    if op_type == "Sub":
        return Affine(-one, constant) if first else Affine(one, -constant)
    if first:
        return "it divides its constant by what is computed"
    if (constant == 0.0).any():
        return "it divides by zero"
    return Affine(one / constant, zero)


def _per_channel(constant: Array, channels: int, rank: int, axis: int) -> Array | None:
    if constant.ndim > rank:
        return None
    if constant.size == 1:
        return np.broadcast_to(constant.reshape(-1), channels)
    place = constant.ndim + axis
    if place < 0 or constant.shape[place] != channels or constant.size != channels:
        return None
    return constant.reshape(-1)
