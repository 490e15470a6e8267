"""Add, Sub, Mul, Concat, LeakyRelu and Clip as integer sums of rescaled codes.

1. Both operands of Add and Sub are multiplied to the output's scale, added up and shifted once.
2. Mul is exact in int32 before its one rescaling: |(x - x_zero) · (y - y_zero)| < 2^16.
3. An operand that is constant, as a divisor has to be, needs no codes: it becomes part of the
   multiplier or of the addend.
4. Concat brings each input to the output's codes; those that share its params are copied.
5. LeakyRelu and PRelu are the sum of two terms, max(x - zero, 0) and min(x - zero, 0).
6. Relu and Clip that nothing absorbs bring codes to the output's, between those of their bounds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import shape_of, weight_of
from onnxq.graph.roles import attribute
from onnxq.numerics.fixed_point import Term
from onnxq.passes.lower.integer.rescale import plain_term, product_term, recoded, rescaled
from onnxq.passes.lower.integer.scope import PLANAR, Scope
from onnxq.plan.obstacles import clip_bounds

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.passes.lower.integer.emitter import Codes, Written

__all__ = ["HANDLERS", "last_axis"]

_INT32 = ir.DataType.INT32


def last_axis(axis: int) -> int:
    """Returns where axis ``axis`` of [N, C, H, W] is in [N, H, W, C]."""
    return (0, 3, 1, 2)[axis]


def _rank(value: ir.Value | None) -> int | None:
    shape = shape_of(value)
    return None if shape is None else len(shape)


def _works_last(scope: Scope) -> bool:
    """Whether the node is best computed with channels last: all that it reads has rank 4."""
    activations = [v for v in scope.node.inputs if v is not None and weight_of(v) is None]
    planar = all(_rank(value) == PLANAR for value in (*activations, scope.node.outputs[0]))
    return planar and any(scope.prefers_last(value) for value in activations)


def _laid(constant: npt.NDArray[np.generic], *, last: bool) -> npt.NDArray[np.float64]:
    """Returns a constant operand with its axes where the activations' are."""
    made = np.asarray(constant, np.float64)
    if made.size == 1:
        return made.reshape(())
    if not last:
        return made
    return made.reshape([1] * (PLANAR - made.ndim) + list(made.shape)).transpose(0, 2, 3, 1)


def _add(scope: Scope) -> None:
    last = _works_last(scope)
    target, stem = _target(scope)
    signs = (1.0, -1.0 if scope.node.op_type == "Sub" else 1.0)
    operands, terms = [], []
    offset: npt.NDArray[np.float64] = np.zeros(())
    for position, sign in enumerate(signs):
        constant = weight_of(scope.node.inputs[position])
        if constant is not None:
            offset = offset + sign * _laid(constant, last=last)
            continue
        codes = scope.read(position, last=last)
        term, moved = plain_term(codes, sign)
        operands.append(scope.cast(codes.value, _INT32, f"{stem}_operand"))
        terms.append(term)
        offset = offset + moved
    found = rescaled(scope, operands, terms, scope.written(target), stem, offset)
    scope.write(target, found, last=last)


def _target(scope: Scope) -> tuple[ir.Value, str]:
    target = scope.target()
    if target is None:
        raise scope.refusal("the plan leaves its output float")
    return target, str(target.name)


def _mul(scope: Scope) -> None:
    last = _works_last(scope)
    target, stem = _target(scope)
    constants = [weight_of(value) for value in scope.node.inputs]
    if scope.node.op_type == "Div":
        if constants[1] is None or not np.all(constants[1]):
            raise scope.refusal("its divisor is no constant other than 0")
        constants[1] = 1.0 / constants[1].astype(np.float64)
    if any(constant is not None for constant in constants):
        position = 0 if constants[1] is not None else 1
        codes = scope.read(position, last=last)
        factor = _laid(np.asarray(constants[1 - position]), last=last)
        operand = scope.cast(codes.value, _INT32, f"{stem}_operand")
        term, offset = plain_term(codes)
        scaled = Term(np.asarray(term.factor * factor), term.low, term.high)
        found = rescaled(scope, [operand], [scaled], scope.written(target), stem, offset * factor)
    else:
        pair = [scope.read(position, last=last) for position in (0, 1)]
        left, right = (_centred(scope, codes, stem) for codes in pair)
        product = scope.op("Mul", [left, right], _INT32, f"{stem}_product")
        term = product_term(pair[0], pair[1])
        found = rescaled(scope, [product], [term], scope.written(target), stem)
    scope.write(target, found, last=last)


def _ends(codes: Codes) -> tuple[int, int]:
    return codes.limits[0] - codes.zero, codes.limits[1] - codes.zero


def _centred(scope: Scope, codes: Codes, stem: str) -> ir.Value:
    """Returns code - zero, int32."""
    wide = scope.cast(codes.value, _INT32, f"{stem}_operand")
    if codes.zero == 0:
        return wide
    zero = scope.constant("zero", codes.zero, np.int32)
    return scope.op("Sub", [wide, zero], _INT32, f"{stem}_centred")


def _concat(scope: Scope) -> None:
    last = _works_last(scope)
    target, stem = _target(scope)
    rank = _rank(target)
    axis = int(attribute(scope.node, "axis", 0))
    if last:
        axis = last_axis(axis % PLANAR)
    elif rank is not None:
        axis %= rank
    wanted = scope.written(target)
    parts = [
        recoded(scope, scope.read(position, last=last), wanted, f"{stem}_part")
        for position in range(len(scope.node.inputs))
    ]
    joined = scope.op("Concat", parts, ir.DataType.UINT8, f"{stem}_quantized", {"axis": axis})
    scope.write(target, joined, last=last)


def _leaky(scope: Scope) -> None:
    last = _works_last(scope)
    target, stem = _target(scope)
    if scope.node.op_type == "PRelu":
        given = weight_of(scope.node.inputs[1])
        if given is None:
            raise scope.refusal("its slopes are no constant")
        slope = _laid(given, last=last)
    else:
        slope = np.asarray(float(attribute(scope.node, "alpha", 0.01)))
    codes = scope.read(0, last=last)
    centred = _centred(scope, codes, stem)
    zero = scope.constant("zero", 0, np.int32)
    above = scope.op("Max", [centred, zero], _INT32, f"{stem}_above")
    below = scope.op("Min", [centred, zero], _INT32, f"{stem}_below")
    low, high = _ends(codes)
    nothing = np.asarray(0)
    terms = [
        Term(np.asarray(codes.scale), nothing, np.asarray(max(high, 0))),
        Term(codes.scale * slope, np.asarray(min(low, 0)), nothing),
    ]
    found = rescaled(scope, [above, below], terms, scope.written(target), stem)
    scope.write(target, found, last=last)


def _clip(scope: Scope) -> None:
    """Rule 6."""
    last = _works_last(scope)
    target, stem = _target(scope)
    codes, wanted = scope.read(0, last=last), scope.written(target)
    ends = np.array([_code(bound, wanted) for bound in clip_bounds(scope.node)])
    low, high = np.clip(ends, *wanted.limits)
    bounded = replace(wanted, limits=(int(low), int(high)))
    scope.write(target, recoded(scope, codes, bounded, stem), last=last)


def _code(bound: float, wanted: Written) -> float:
    return float(np.rint(bound / wanted.scale) + wanted.zero)


HANDLERS = {
    "Add": _add,
    "Sub": _add,
    "Div": _mul,
    "Mul": _mul,
    "Clip": _clip,
    "Concat": _concat,
    "LeakyRelu": _leaky,
    "PRelu": _leaky,
    "Relu": _clip,
}
