"""MatMul and Gemm: products of the cotangent with the other factor, transposed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

    Shape = tuple[int, ...]

__all__ = ["RULES"]


def _gemm(site: Site, dy: ir.Value) -> Grads:
    """With y = alpha · A' B' + beta · C, with A' and B' possibly transposed."""
    attributes = site.node.attributes
    alpha, beta = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    ta, tb = attributes.get_int("transA", 0), attributes.get_int("transB", 0)
    a, b = site.x(0), site.x(1)

    def product(left: ir.Value, right: ir.Value, t_left: int, t_right: int) -> ir.Value:
        return site.op("Gemm", left, right, alpha=alpha, transA=t_left, transB=t_right)

    return site.each(
        lambda: product(b, dy, tb, 1) if ta else product(dy, b, 0, 1 - tb),
        lambda: product(dy, a, 1, ta) if tb else product(a, dy, 1 - ta, 0),
        lambda: site.fit(site.mul(dy, beta), 2),
    )


def _matmul(site: Site, dy: ir.Value) -> Grads:
    """Gives dA = dY Bᵀ and dB = Aᵀ dY, summed over what was broadcast."""
    a, b = site.shape(site.x(0)), site.shape(site.x(1))
    # a vector is a matrix of one row (left) or one column (right)
    wide_a, wide_b = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    batch = _broadcast(wide_a[:-2], wide_b[:-2])
    wide_y = (*batch, wide_a[-2], wide_b[-1])
    if wide_y != site.shape(site.y):
        dy = site.reshape(dy, wide_y)

    def by_left() -> ir.Value:
        right = _wide(site, 1, wide_b)
        full = site.op("MatMul", dy, _swapped(site, right, len(wide_b)))
        result = site.fit_shape(full, (*batch, *wide_a[-2:]), wide_a)
        return result if a == wide_a else site.reshape(result, a)

    def by_right() -> ir.Value:
        left = _wide(site, 0, wide_a)
        if len(wide_b) == 2 and len(wide_a) > 2:
            rows = math.prod(wide_a[:-1])
            flat_left = site.reshape(left, (rows, wide_a[-1]))
            result = site.op("Gemm", flat_left, site.reshape(dy, (rows, wide_b[-1])), transA=1)
        else:
            full = site.op("MatMul", _swapped(site, left, len(wide_a)), dy)
            result = site.fit_shape(full, (*batch, *wide_b[-2:]), wide_b)
        return result if b == wide_b else site.reshape(result, b)

    return site.each(by_left, by_right)


def _wide(site: Site, position: int, shape: Shape) -> ir.Value:
    value = site.x(position)
    return value if site.shape(value) == shape else site.reshape(value, shape)


def _swapped(site: Site, value: ir.Value, rank: int) -> ir.Value:
    return site.transpose(value, [*range(rank - 2), rank - 1, rank - 2])


def _broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return tuple(m if n == 1 else n for m, n in pairs)


RULES: Mapping[str, Rule] = {"Gemm": _gemm, "MatMul": _matmul}
