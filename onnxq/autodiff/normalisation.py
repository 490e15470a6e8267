"""Softmax and normalisations; statistics of the input are computed anew from it.

With n = (x - mean) · r, r = 1 / sqrt(var + epsilon), both moments taken over a set of M elements,
and e = dy · scale:

    dx = r · (e - mean(e) - n · mean(e · n))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.autodiff.site import Grads, Rule, Site

    Matrix = npt.NDArray[np.float64]

__all__ = ["RULES"]


def _softmax(site: Site, dy: ir.Value) -> Grads:
    """Gives dx = y · (dy - Σ y · dy)."""
    axis = site.axis(len(site.shape(site.y)), -1)
    total = site.sum(site.mul(dy, site.y), [axis], keep=True)
    return {0: site.mul(site.y, site.sub(dy, total))}


def _log_softmax(site: Site, dy: ir.Value) -> Grads:
    """Gives dx = dy - exp(y) · Σ dy."""
    axis = site.axis(len(site.shape(site.y)), -1)
    total = site.sum(dy, [axis], keep=True)
    return {0: site.sub(dy, site.mul(site.op("Exp", site.y), total))}


def _batch_norm(site: Site, dy: ir.Value) -> Grads:
    """With y = (x - mean) · r · scale + bias with given moments."""
    if site.node.attributes.get_int("training_mode", 0):
        raise site.refusal("it is in training mode")
    rank, channels = len(site.shape(site.x())), site.shape(site.x(1))[0]
    wide = (channels, *(1,) * (rank - 2))
    axes = [0, *range(2, rank)]
    epsilon = site.node.attributes.get_float("epsilon", 1e-5)
    scale, mean, var = site.x(1), site.x(3), site.x(4)
    r = site.op("Reciprocal", site.op("Sqrt", site.add(var, epsilon)))

    def centred() -> ir.Value:
        """Σ dy · (x - mean) per channel."""
        shifted = site.sub(site.x(), site.reshape(mean, wide))
        return site.sum(site.mul(dy, shifted), axes)

    def by_var() -> ir.Value:
        cube = site.mul(site.mul(r, r), r)
        return site.mul(site.mul(centred(), site.mul(scale, cube)), -0.5)

    return site.each(
        lambda: site.mul(dy, site.reshape(site.mul(scale, r), wide)),
        lambda: site.mul(centred(), r),
        lambda: site.sum(dy, axes),
        lambda: site.op("Neg", site.mul(site.sum(dy, axes), site.mul(scale, r))),
        by_var,
    )


class _Normal(NamedTuple):
    """The normalised input, 1 / its deviation, and the axes of the moments."""

    n: ir.Value
    r: ir.Value
    axes: Sequence[int]


def _normalise(site: Site, x: ir.Value, axes: Sequence[int], *, centre: bool = True) -> _Normal:
    epsilon = site.node.attributes.get_float("epsilon", 1e-5)
    at = site.ints(*axes)
    if centre:
        x = site.sub(x, site.op("ReduceMean", x, at, keepdims=1))
    var = site.op("ReduceMean", site.mul(x, x), at, keepdims=1)
    r = site.op("Reciprocal", site.op("Sqrt", site.add(var, epsilon)))
    return _Normal(site.mul(x, r), r, axes)


def _denormalise(site: Site, e: ir.Value, normal: _Normal, *, centre: bool = True) -> ir.Value:
    """Emits dx for e, the cotangent of the normalised input."""
    at = site.ints(*normal.axes)
    along = site.op("ReduceMean", site.mul(e, normal.n), at, keepdims=1)
    if centre:
        e = site.sub(e, site.op("ReduceMean", e, at, keepdims=1))
    return site.mul(normal.r, site.sub(e, site.mul(normal.n, along)))


def _layer_norm(site: Site, dy: ir.Value) -> Grads:
    """LayerNormalization; RMSNormalization is the same without the mean."""
    centre = site.node.op_type == "LayerNormalization"
    rank = len(site.shape(site.x()))
    axes = range(site.axis(rank, -1), rank)
    scale = site.x(1)
    normal = _normalise(site, site.x(), axes, centre=centre)
    return site.each(
        lambda: _denormalise(site, site.mul(dy, scale), normal, centre=centre),
        lambda: site.fit(site.mul(dy, normal.n), 1),
        lambda: site.fit(dy, 2),
    )


def _instance_norm(site: Site, dy: ir.Value) -> Grads:
    """Each channel of each sample on its own."""
    shape = site.shape(site.x())
    return _by_groups(site, dy, shape[1], site.x(1))


def _group_norm(site: Site, dy: ir.Value) -> Grads:
    shape = site.shape(site.x())
    if site.shape(site.x(1)) != (shape[1],):
        raise site.refusal("it has a scale per group, as before opset 21")
    return _by_groups(site, dy, site.node.attributes.get_int("num_groups", 1), site.x(1))


def _by_groups(site: Site, dy: ir.Value, groups: int, scale: ir.Value) -> Grads:
    """Moments over the channels of a group and all positions; scale and bias per channel."""
    shape = site.shape(site.x())
    rank = len(shape)
    split = (shape[0], groups, shape[1] // groups, *shape[2:])
    wide = (shape[1], *(1,) * (rank - 2))
    normal = _normalise(site, site.reshape(site.x(), split), range(2, rank + 1))
    axes = [0, *range(2, rank)]

    def by_x() -> ir.Value:
        e = site.mul(dy, site.reshape(scale, wide))
        return site.reshape(_denormalise(site, site.reshape(e, split), normal), shape)

    return site.each(
        by_x,
        lambda: site.sum(site.mul(dy, site.reshape(normal.n, shape)), axes),
        lambda: site.sum(dy, axes),
    )


def _lrn(site: Site, dy: ir.Value) -> Grads:
    """With y = x · D^-beta, D = bias + alpha / size · B x², B summing over neighbouring channels.

    dx = dy · D^-beta - 2 · alpha · beta / size · x · Bᵀ (dy · y / D)
    """
    attributes = site.node.attributes
    size = attributes.get_int("size", 1)
    alpha, beta = attributes.get_float("alpha", 1e-4), attributes.get_float("beta", 0.75)
    shape = site.shape(site.x())
    flat = (shape[0], shape[1], int(np.prod(shape[2:])))
    band = _band(shape[1], size)

    def over_channels(matrix: Matrix, v: ir.Value) -> ir.Value:
        summed = site.op("MatMul", site.array(matrix), site.reshape(v, flat))
        return site.reshape(summed, shape)

    x = site.x()
    squares = site.mul(over_channels(band, site.mul(x, x)), alpha / size)
    d = site.add(squares, attributes.get_float("bias", 1.0))
    direct = site.mul(dy, site.op("Pow", d, site.array(-beta)))
    sent = over_channels(band.T, site.div(site.mul(dy, site.y), d))
    return {0: site.sub(direct, site.mul(site.mul(x, sent), 2 * alpha * beta / size))}


def _band(channels: int, size: int) -> Matrix:
    """Returns [c, c']: 1 where channel c reads channel c'."""
    ahead = np.arange(channels)[None] - np.arange(channels)[:, None]
    return ((ahead >= -((size - 1) // 2)) & (ahead <= size // 2)).astype(np.float64)


def _lp_norm(site: Site, dy: ir.Value) -> Grads:
    """With y = x / s with s = ‖x‖₂: dx = (dy - y · Σ y · dy) / s."""
    if site.node.attributes.get_int("p", 2) != 2:
        raise site.refusal("its norm is not Euclidean")
    axis = site.axis(len(site.shape(site.y)), -1)
    s = site.op("ReduceL2", site.x(), site.ints(axis), keepdims=1)
    along = site.sum(site.mul(site.y, dy), [axis], keep=True)
    return {0: site.div(site.sub(dy, site.mul(site.y, along)), s)}


RULES: Mapping[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_norm,
    "RMSNormalization": _layer_norm,
    "Softmax": _softmax,
}
