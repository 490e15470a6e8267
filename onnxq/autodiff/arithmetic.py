"""Sums, products, powers and choices, element by element, with numpy's broadcasting.

A cotangent has the output's shape; :meth:`Site.fit` sums it down to that of a broadcast input.
Where several inputs of Max or Min are equal, they share the gradient evenly, as in torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.query import weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

__all__ = ["RULES"]


def _sum(site: Site, dy: ir.Value) -> Grads:
    """Add and Sum: dx_i = dy."""
    return {i: site.fit(dy, i) for i in site.needs}


def _sub(site: Site, dy: ir.Value) -> Grads:
    return site.each(
        lambda: site.fit(dy, 0),
        lambda: site.op("Neg", site.fit(dy, 1)),
    )


def _mul(site: Site, dy: ir.Value) -> Grads:
    a, b = site.x(0), site.x(1)
    return site.each(
        lambda: site.fit(site.mul(dy, b), 0),
        lambda: site.fit(site.mul(dy, a), 1),
    )


def _div(site: Site, dy: ir.Value) -> Grads:
    """With y = a / b: da = dy / b, db = -dy · y / b."""
    b = site.x(1)
    return site.each(
        lambda: site.fit(site.div(dy, b), 0),
        lambda: site.op("Neg", site.fit(site.div(site.mul(dy, site.y), b), 1)),
    )


def _mean(site: Site, dy: ir.Value) -> Grads:
    part = site.mul(dy, 1 / len(site.node.inputs))
    return {i: site.fit(part, i) for i in site.needs}


def _neg(site: Site, dy: ir.Value) -> Grads:
    return {0: site.op("Neg", dy)}


def _abs(site: Site, dy: ir.Value) -> Grads:
    return {0: site.mul(dy, site.op("Sign", site.x()))}


def _reciprocal(site: Site, dy: ir.Value) -> Grads:
    return {0: site.op("Neg", site.mul(dy, site.mul(site.y, site.y)))}


def _sqrt(site: Site, dy: ir.Value) -> Grads:
    return {0: site.div(site.mul(dy, 0.5), site.y)}


def _pow(site: Site, dy: ir.Value) -> Grads:
    """With y = xᵖ: dx = dy · p · xᵖ⁻¹, dp = dy · y · log x.

    The square's slope is 2x, with no power of a negative number.
    """
    x, p = site.x(0), site.x(1)
    exponent = weight_of(p)

    def by_base() -> ir.Value:
        if exponent is None:
            power = p if p.dtype == site.dtype else site.op("Cast", p, to=site.dtype)
            slope = site.mul(power, site.op("Pow", x, site.sub(power, 1.0)))
        elif (exponent == 2).all():
            slope = site.mul(x, 2.0)
        else:
            power = site.array(exponent)
            slope = site.mul(site.op("Pow", x, site.array(exponent - 1.0)), power)
        return site.fit(site.mul(dy, slope), 0)

    def by_exponent() -> ir.Value:
        positive = site.mask("Greater", x, 0.0)
        # log 1 = 0 where x is not positive, and the real power is no function of p
        safe = site.add(site.mul(x, positive), site.sub(1.0, positive))
        return site.fit(site.mul(dy, site.mul(site.y, site.op("Log", safe))), 1)

    return site.each(by_base, by_exponent)


def _extreme(site: Site, dy: ir.Value) -> Grads:
    """Max and Min: to those that are the extreme, evenly."""
    if len(site.node.inputs) == 1:
        return {0: dy}
    masks = [site.mask("Equal", value, site.y) for value in site.node.inputs if value is not None]
    share = site.div(dy, site.op("Sum", *masks))
    return {i: site.fit(site.mul(share, masks[i]), i) for i in site.needs}


def _where(site: Site, dy: ir.Value) -> Grads:
    condition = site.x(0)
    return site.each(
        None,
        lambda: site.fit(site.mul(dy, site.as_factor(condition)), 1),
        lambda: site.fit(
            site.mul(dy, site.sub(1.0, site.as_factor(condition))),
            2,
        ),
    )


def _cast(site: Site, dy: ir.Value) -> Grads:
    dtype = site.x().dtype
    if dtype is None or site.holds_codes(0):
        return {0: dy}
    return {0: site.op("Cast", dy, to=dtype, dtype=dtype)}


def _same(site: Site, dy: ir.Value) -> Grads:
    """Identity; Dropout, which does nothing when a model is used; Round as if it were not there."""
    del site
    return {0: dy}


RULES: Mapping[str, Rule] = {
    "Abs": _abs,
    "Add": _sum,
    "Cast": _cast,
    "Div": _div,
    "Dropout": _same,
    "Identity": _same,
    "Max": _extreme,
    "Mean": _mean,
    "Min": _extreme,
    "Mul": _mul,
    "Neg": _neg,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Round": _same,
    "Sqrt": _sqrt,
    "Sub": _sub,
    "Sum": _sum,
    "Where": _where,
}
