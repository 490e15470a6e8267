"""Functions of one value: dx = dy · f'(x), from the output where that serves.

Where a function has a corner, the gradient is that of torch: 0 for Relu at 0, 0 for Clip at its
bounds. A condition is a factor of 1 and 0; Where would take ten times as long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

__all__ = ["RULES"]

_SQRT_HALF = math.sqrt(0.5)
_NORMAL = 1 / math.sqrt(2 * math.pi)
_TANH_SCALE = math.sqrt(2 / math.pi)
_TANH_CUBE = 0.044715
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _times(slope: Callable[[Site], ir.Value]) -> Rule:
    """Makes the rule dx = dy · slope."""

    def rule(site: Site, dy: ir.Value) -> Grads:
        return {0: site.mul(dy, slope(site))}

    return rule


def _relu(site: Site) -> ir.Value:
    return site.mask("Greater", site.y, 0.0)


def _blend(site: Site, mask: ir.Value, below: float) -> ir.Value:
    """1 where ``mask`` is, ``below`` elsewhere."""
    return site.add(site.mul(mask, 1.0 - below), below)


def _leaky_relu(site: Site) -> ir.Value:
    alpha = site.node.attributes.get_float("alpha", 0.01)
    # y has the sign of x, and reading it lets Conv and LeakyRelu stay one node
    value = site.y if alpha > 0 else site.x()
    return _blend(site, site.mask("Greater", value, 0.0), alpha)


def _thresholded_relu(site: Site) -> ir.Value:
    return site.mask("Greater", site.x(), site.node.attributes.get_float("alpha", 1.0))


def _exponential_below(site: Site, alpha: float) -> ir.Value:
    """1 for x > 0, alpha · exp(x) elsewhere."""
    mask = site.mask("Greater", site.x(), 0.0)
    below = site.mul(site.op("Exp", site.op("Min", site.x(), site.array(0.0))), alpha)
    return site.add(mask, site.mul(below, site.sub(1.0, mask)))


def _elu(site: Site) -> ir.Value:
    return _exponential_below(site, site.node.attributes.get_float("alpha", 1.0))


def _selu(site: Site) -> ir.Value:
    alpha = site.node.attributes.get_float("alpha", _SELU_ALPHA)
    gamma = site.node.attributes.get_float("gamma", _SELU_GAMMA)
    return site.mul(_exponential_below(site, alpha), gamma)


def _sigmoid(site: Site) -> ir.Value:
    return site.mul(site.y, site.sub(1.0, site.y))


def _tanh(site: Site) -> ir.Value:
    return site.sub(1.0, site.mul(site.y, site.y))


def _erf(site: Site) -> ir.Value:
    square = site.op("Neg", site.mul(site.x(), site.x()))
    return site.mul(site.op("Exp", square), 2 / math.sqrt(math.pi))


def _softplus(site: Site) -> ir.Value:
    return site.op("Sigmoid", site.x())


def _softsign(site: Site) -> ir.Value:
    reach = site.add(site.op("Abs", site.x()), 1.0)
    return site.op("Reciprocal", site.mul(reach, reach))


def _inside(site: Site) -> ir.Value:
    """1 where 0 < y < 1."""
    above = site.mask("Greater", site.y, 0.0)
    return site.mul(above, site.mask("Less", site.y, 1.0))


def _hard_sigmoid(site: Site) -> ir.Value:
    return site.mul(_inside(site), site.node.attributes.get_float("alpha", 0.2))


def _hard_swish(site: Site) -> ir.Value:
    """With y = x · h with h = clip(x / 6 + 1/2, 0, 1): slope h + x / 6 inside, 0 or 1 outside."""
    sixth = site.mul(site.x(), 1 / 6)
    line = site.add(sixth, 0.5)
    h = site.op("Clip", line, site.array(0.0), site.array(1.0))
    inside = site.mul(site.mask("Greater", line, 0.0), site.mask("Less", line, 1.0))
    return site.add(h, site.mul(sixth, inside))


def _swish(site: Site) -> ir.Value:
    """With y = x · s with s = sigmoid(alpha · x): slope s + alpha · y · (1 - s)."""
    alpha = site.node.attributes.get_float("alpha", 1.0)
    s = site.op("Sigmoid", site.mul(site.x(), alpha))
    return site.add(s, site.mul(site.mul(site.y, site.sub(1.0, s)), alpha))


def _mish(site: Site) -> ir.Value:
    """With y = x · t with t = tanh(softplus(x)): slope t + x · (1 - t²) · sigmoid(x)."""
    x = site.x()
    t = site.op("Tanh", site.op("Softplus", x))
    rest = site.mul(site.sub(1.0, site.mul(t, t)), site.op("Sigmoid", x))
    return site.add(t, site.mul(x, rest))


def _gelu(site: Site) -> ir.Value:
    """With y = x · c: slope c + x · c', with the normal distribution's c or its approximation."""
    x = site.x()
    square = site.mul(x, x)
    if site.node.attributes.get_string("approximate", "none") == "tanh":
        cubic = site.add(site.mul(square, _TANH_CUBE), 1.0)
        t = site.op("Tanh", site.mul(site.mul(x, cubic), _TANH_SCALE))
        inner = site.mul(site.add(site.mul(square, 3 * _TANH_CUBE), 1.0), _TANH_SCALE / 2)
        density = site.mul(site.sub(1.0, site.mul(t, t)), inner)
        share = site.mul(site.add(t, 1.0), 0.5)
    else:
        density = site.mul(site.op("Exp", site.mul(square, -0.5)), _NORMAL)
        share = site.mul(site.add(site.op("Erf", site.mul(x, _SQRT_HALF)), 1.0), 0.5)
    return site.add(share, site.mul(x, density))


def _sin(site: Site) -> ir.Value:
    return site.op("Cos", site.x())


def _cos(site: Site) -> ir.Value:
    return site.op("Neg", site.op("Sin", site.x()))


def _exp(site: Site) -> ir.Value:
    return site.y


def _log(site: Site, dy: ir.Value) -> Grads:
    return {0: site.div(dy, site.x())}


def _clip(site: Site, dy: ir.Value) -> Grads:
    """Inside: to x. Beyond a bound: to that bound."""
    codes = site.holds_codes(0)
    low, high = site.input(1), site.input(2)

    def by_x() -> ir.Value:
        # A code at the bound is inside: what was rounded to it was.
        result, value = dy, site.x() if codes else site.y
        for bound, strict, loose in (
            (low, "Greater", "GreaterOrEqual"),
            (high, "Less", "LessOrEqual"),
        ):
            if bound is not None:
                result = site.mul(result, site.mask(loose if codes else strict, value, bound))
        return result

    def by_bound(comparison: str, position: int) -> ir.Value:
        beyond = site.mask(comparison, site.x(), site.x(position))
        return site.fit(site.mul(dy, beyond), position)

    return site.each(by_x, lambda: by_bound("Less", 1), lambda: by_bound("Greater", 2))


def _prelu(site: Site, dy: ir.Value) -> Grads:
    x, slope = site.x(0), site.x(1)

    def by_x() -> ir.Value:
        mask = site.mask("Greater", x, 0.0)
        below = site.mul(site.sub(1.0, mask), slope)
        return site.mul(dy, site.add(mask, below))

    def by_slope() -> ir.Value:
        return site.fit(site.mul(dy, site.op("Min", x, site.array(0.0))), 1)

    return site.each(by_x, by_slope)


RULES: Mapping[str, Rule] = {
    "Clip": _clip,
    "Cos": _times(_cos),
    "Elu": _times(_elu),
    "Erf": _times(_erf),
    "Exp": _times(_exp),
    "Gelu": _times(_gelu),
    "HardSigmoid": _times(_hard_sigmoid),
    "HardSwish": _times(_hard_swish),
    "LeakyRelu": _times(_leaky_relu),
    "Log": _log,
    "Mish": _times(_mish),
    "PRelu": _prelu,
    "Relu": _times(_relu),
    "Selu": _times(_selu),
    "Sigmoid": _times(_sigmoid),
    "Sin": _times(_sin),
    "Softplus": _times(_softplus),
    "Softsign": _times(_softsign),
    "Swish": _times(_swish),
    "Tanh": _times(_tanh),
    "ThresholdedRelu": _times(_thresholded_relu),
}
