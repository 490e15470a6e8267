"""Sums of integers, rescaled to codes: the nodes of ``onnxq.numerics.fixed_point``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.numerics.fixed_point import Rescaling, Term, rescaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.passes.lower.integer.emitter import Codes, Emitter, Written

__all__ = ["plain_term", "product_term", "recoded", "rescaled"]

_TYPES = {
    False: (ir.DataType.INT32, ir.DataType.UINT32),
    True: (ir.DataType.INT64, ir.DataType.UINT64),
}


def rescaled(  # noqa: PLR0913 (a sum, how it is written, and how its channels lie)
    emitter: Emitter,
    operands: Sequence[ir.Value],
    terms: Sequence[Term],
    wanted: Written,
    stem: str,
    offset: npt.ArrayLike = 0.0,
    shape: Sequence[int] = (),
) -> ir.Value:
    """Returns the codes, uint8, of Σ operand · factor + offset.

    Args:
        emitter: Adds the nodes.
        operands: int32.
        terms: Their factors, in reals per unit, and bounds.
        wanted: How the sum is written.
        stem: Start of the names.
        offset: Real; broadcasts with the operands.
        shape: What arrays of one number per channel are reshaped to.

    Raises:
        PlanError: Not even int64 holds the sum.
    """
    scale, zero = _shaped(wanted.scale, shape), _shaped(wanted.zero, shape)
    in_codes = [
        Term(_shaped(t.factor, shape) / scale, _shaped(t.low, shape), _shaped(t.high, shape))
        for t in terms
    ]
    try:
        moved = _shaped(offset, shape) / scale
        found = rescaling(in_codes, zero, wanted.limits, moved, narrow=emitter.narrow)
    except ValueError as error:
        raise emitter.refusal(str(error)) from None
    return _emitted(emitter, operands, found, stem)


def _emitted(
    emitter: Emitter, operands: Sequence[ir.Value], found: Rescaling, stem: str
) -> ir.Value:
    signed, unsigned = _TYPES[found.wide]
    kind = np.int64 if found.wide else np.int32
    total: ir.Value | None = None
    for operand, multiplier in zip(operands, found.multipliers, strict=True):
        term = emitter.cast(operand, signed, f"{stem}_wide")
        if found.before is not None:
            low, high = found.before
            bound = emitter.constant(f"{stem}_least", low, kind)
            term = emitter.op("Max", [term, bound], signed, f"{stem}_from")
            bound = emitter.constant(f"{stem}_greatest", high, kind)
            term = emitter.op("Min", [term, bound], signed, f"{stem}_bounded")
        factor = emitter.constant(f"{stem}_multiplier", multiplier, kind)
        term = emitter.op("Mul", [term, factor], signed, f"{stem}_scaled")
        total = term if total is None else emitter.op("Add", [total, term], signed, f"{stem}_sum")
    addend = emitter.constant(f"{stem}_addend", found.addend, kind)
    total = emitter.op("Add", [total, addend], signed, f"{stem}_moved")
    if found.needs_clip:
        ends = [emitter.constant("bound", end, kind) for end in found.behind]
        total = emitter.op("Clip", [total, *ends], signed, f"{stem}_clipped")
    positive = emitter.cast(total, unsigned, f"{stem}_positive")
    bits = emitter.constant("shift", found.shift, np.uint64 if found.wide else np.uint32)
    direction = {"direction": "RIGHT"}
    shifted = emitter.op("BitShift", [positive, bits], unsigned, f"{stem}_shifted", direction)
    return emitter.cast(shifted, ir.DataType.UINT8, f"{stem}_quantized")


def recoded(emitter: Emitter, codes: Codes, wanted: Written, stem: str) -> ir.Value:
    """Returns ``codes`` as they are with the scale and zero point of ``wanted``."""
    if codes.same_as(wanted):
        return codes.value
    operand = emitter.cast(codes.value, ir.DataType.INT32, f"{stem}_wide")
    term, offset = plain_term(codes)
    return rescaled(emitter, [operand], [term], wanted, stem, offset)


def plain_term(codes: Codes, sign: float = 1.0) -> tuple[Term, float]:
    """Returns ``sign`` · x as a term of the bare codes, and the real offset of their zero point."""
    factor = np.asarray(sign * codes.scale)
    low, high = (np.asarray(limit, np.int64) for limit in codes.limits)
    return Term(factor, low, high), -sign * codes.scale * codes.zero


def product_term(left: Codes, right: Codes, count: int = 1) -> Term:
    """Returns a sum of ``count`` products of centred codes as a term."""
    ends = [(codes.limits[0] - codes.zero, codes.limits[1] - codes.zero) for codes in (left, right)]
    corners = [a * b for a in ends[0] for b in ends[1]]
    low, high = (np.asarray(count * end, np.int64) for end in (min(corners), max(corners)))
    return Term(np.asarray(left.scale * right.scale), low, high)


def _shaped(array: npt.ArrayLike, shape: Sequence[int]) -> npt.NDArray[Any]:
    """One number per channel is laid along the channels' axis; all else stays."""
    made = np.asarray(array)
    return made.reshape(shape) if made.ndim == 1 and shape else made
