"""QuantizeLinear and DequantizeLinear: straight-through rounding and learned step size.

Codes are integers, but their cotangents are floats, as if rounding were the identity (Bengio,
Léonard, Courville 2013). With u = x / s + z, the codes q = clip(round(u)) and y = (q - z) · s:

    DequantizeLinear   dq = dy · s       ds = Σ dy · (q - z)     = Σ dy · y / s
    QuantizeLinear     dx = dq / s · i   ds = -Σ dq · i · x / s²

where i is 1 for lowest - 1/2 <= u <= highest + 1/2 and 0 elsewhere. One behind the other they are

    dx = dy · i,   ds = Σ dy · (round(v) - v) inside, Σ dy · (q - z) outside,   v = x / s

the gradient of learned step size quantization (Esser et al. 2020, section 3.1). Each of them stands
on its own, so that codes may be clipped, pooled or reshaped in between. Zero points have none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

    Shape = tuple[int, ...]

__all__ = ["RULES"]


class _Steps(NamedTuple):
    """How scales lie along a value.

    Attributes:
        shape: That of the value.
        stored: That of the scales.
        axis: Where they run along; meaningless for one scale.
        block: How many elements share one along ``axis``; 0 for one scale or one per index.
    """

    shape: Shape
    stored: Shape
    axis: int
    block: int

    @property
    def split(self) -> Shape:
        """The value's shape with the blocks of ``axis`` apart."""
        count = self.stored[self.axis]
        return (*self.shape[: self.axis], count, self.block, *self.shape[self.axis + 1 :])


def _steps(site: Site) -> _Steps:
    shape, stored = site.shape(site.x()), site.shape(site.x(1))
    axis = site.axis(len(shape), 1)
    block = site.node.attributes.get_int("block_size", 0) if len(stored) > 1 else 0
    if block and shape[axis] % block:
        raise site.refusal(f"its last block of {block} is not full")
    return _Steps(shape, stored, axis, block)


def _spread(site: Site, stored: ir.Value, steps: _Steps) -> ir.Value:
    """Emits what is stored per scale in a shape that broadcasts to the value."""
    if math.prod(steps.stored) == 1:
        return site.reshape(stored, ()) if steps.stored else stored
    if not steps.block:
        wide = [n if i == steps.axis else 1 for i, n in enumerate(steps.shape)]
        return site.reshape(stored, wide)
    apart = list(steps.split)
    apart[steps.axis + 1] = 1
    repeated = site.expand(site.reshape(stored, apart), steps.split)
    return site.reshape(repeated, steps.shape)


def _gathered(site: Site, value: ir.Value, steps: _Steps) -> ir.Value:
    """Sums a value over what shares a scale."""
    rank = len(steps.shape)
    if math.prod(steps.stored) == 1:
        total = site.sum(value, range(rank))
        return site.reshape(total, steps.stored) if steps.stored else total
    if not steps.block:
        return site.sum(value, [axis for axis in range(rank) if axis != steps.axis])
    return site.sum(site.reshape(value, steps.split), [steps.axis + 1])


def _dequantize(site: Site, dy: ir.Value) -> Grads:
    steps, scale = _steps(site), site.x(1)
    return site.each(
        lambda: site.mul(dy, _spread(site, scale, steps)),
        lambda: site.div(_gathered(site, site.mul(dy, site.y), steps), scale),
    )


def _quantize(site: Site, dq: ir.Value) -> Grads:
    steps, scale = _steps(site), site.x(1)
    v = site.div(site.x(), _spread(site, scale, steps))
    inside = site.mul(dq, _unclipped(site, v, steps))
    return site.each(
        lambda: site.div(inside, _spread(site, scale, steps)),
        lambda: site.op("Neg", site.div(_gathered(site, site.mul(inside, v), steps), scale)),
    )


def _unclipped(site: Site, v: ir.Value, steps: _Steps) -> ir.Value:
    """Emits 1 where v + z rounds to a code that there is, 0 where it is clipped to one."""
    dtype = site.y.dtype
    if dtype is None or dtype.is_floating_point():
        raise site.refusal("its codes are no integers")
    low, high = _limits(dtype)
    middle, reach = (low + high) / 2, (high - low + 1) / 2
    zero_point = site.input(2)
    if zero_point is None:
        distance = site.sub(v, middle)
    else:
        z = site.sub(site.op("Cast", zero_point, to=site.dtype), middle)
        distance = site.add(v, _spread(site, z, steps))
    return site.mask("LessOrEqual", site.op("Abs", distance), reach)


def _limits(dtype: ir.DataType) -> tuple[int, int]:
    """Returns the lowest and the highest code of an integer type."""
    bits = dtype.bitwidth
    signed = dtype.is_signed()
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


RULES: Mapping[str, Rule] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
