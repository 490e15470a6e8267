"""Mean and variance of every value that follow from what BatchNormalization knew, without data.

What the prior holds of a value is taken as it is: measured in training. From there on, a value is
taken for normal, and values and channels for independent, which keeps means exact wherever a node
is linear and only estimates variances. Behind a linear layer y = W x + b::

    E[y] = Σ W E[x] + b        Var[y] = Σ W² Var[x]

Near the border of a padded convolution some taps read zeros; each tap counts for the part of the
output positions where it does not. Pooling is taken to change neither mean nor variance, though
MaxPool raises the mean, and averages vary less. Images and whatever else comes from outside are
unknown.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2, from pairs of layers to any graph.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.affine import affine_input, read_affine
from onnxq.graph.channel_classes import is_spatial
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.moves import moved_channels, moved_values
from onnxq.graph.pointwise import Region, regions
from onnxq.graph.query import is_op, scalar_of, shape_of, weight_of
from onnxq.graph.window import window_of
from onnxq.numerics.normal import Normal, clipped, mapped, product

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.prior import Prior

    Array = npt.NDArray[np.float64]

__all__ = ["expectations", "mean_response"]


def expectations(graph: ir.Graph, prior: Prior) -> dict[ir.Value, Normal]:
    """Returns the moments of each value's channels (axis 1), for all values that they follow for.

    Args:
        graph: The main graph, sorted.
        prior: What is known beforehand; entries of other sizes than the values are left out.
    """
    walk = _Walk(graph, prior)
    for node in graph:
        walk.visit(node)
    return walk.known


def mean_response(layer: LinearLayer, mean: Array) -> Array:
    """Returns Σ W E[x], averaged over the output positions.

    Args:
        layer: The layer; its bias does not count.
        mean: E[x] of each input channel, float64 [in_channels].

    Returns:
        float64 [out_channels]; exact where every position of x has the mean of its channel.
    """
    return layer.with_weight(layer.weight * _coverage(layer)).response(mean)


class _Walk:
    """The moments of all values up to a node."""

    def __init__(self, graph: ir.Graph, prior: Prior) -> None:
        self.known: dict[ir.Value, Normal] = {}
        self._prior = prior
        self._told: set[ir.Value] = set()
        self._place = {node: place for place, node in enumerate(graph)}
        for value in graph.inputs:
            self._enter(value, None)

    def visit(self, node: ir.Node) -> None:
        """Enters what is known of the outputs of ``node``."""
        found = self._split(node) if is_op(node, "Split") else [self._follow(node)]
        for value, moments in zip(node.outputs, found, strict=False):
            self._enter(value, moments)

    def _enter(self, value: ir.Value, moments: Normal | None) -> None:
        shape = shape_of(value)
        size = shape[1] if shape is not None and len(shape) > 1 else None
        told = self._prior.get(str(value.name))
        if told is not None and size in (None, told[0].size):
            moments = Normal(told[0].astype(np.float64), told[1].astype(np.float64) ** 2)
            self._told.add(value)
        if moments is not None and np.isfinite(moments).all():
            self.known[value] = moments

    def _follow(self, node: ir.Node) -> Normal | None:  # noqa: PLR0911 (one return per kind)
        x = self._of(node.inputs[0]) if node.inputs else None
        if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
            return self._through_layer(node)
        if is_op(node, "Identity") or is_spatial(node) or _averages(node):
            return x
        if is_op(node, "PRelu") and x is not None:
            return _through_prelu(node, x)
        if affine_input(node) is not None and (found := self._through_affine(node)) is not None:
            return found
        if (through := self._through_region(node)) is not None:
            return through
        if is_op(node, "Pad") and x is not None:
            return _padded(node, x)
        if is_op(node, "Add", "Sub", "Mul", "Sum"):
            return self._combined(node)
        return self._moved(node)

    def _of(self, value: ir.Value | None) -> Normal | None:
        return None if value is None else self.known.get(value)

    def _through_layer(self, node: ir.Node) -> Normal | None:
        layer = linear_layer(node)
        if isinstance(layer, str):
            return None
        x = self._of(layer.source)
        flat = layer.channel_axis == -1 and layer.rank != 2
        if x is None or flat or x.mean.size != layer.in_channels:
            return None
        mean = mean_response(layer, x.mean)
        squared = layer.with_weight(layer.weight**2)
        variance = mean_response(squared, x.variance)
        return Normal(mean if layer.bias is None else mean + layer.bias, variance)

    def _through_affine(self, node: ir.Node) -> Normal | None:
        value = affine_input(node)
        x, shape = self._of(value), shape_of(value)
        if x is None or shape is None:
            return None
        affine = read_affine(node, x.mean.size, len(shape), 1 - len(shape))
        if isinstance(affine, str):
            return None
        return Normal(x.mean * affine.scale + affine.shift, x.variance * affine.scale**2)

    def _through_region(self, node: ir.Node) -> Normal | None:
        """A function of one value, from as far up as is not measured again on the way."""
        found: tuple[Region, Normal] | None = None
        for region in regions(node, self._place):
            if any(inner.outputs[0] in self._told for inner in region.nodes[:-1]):
                break
            if (source := self._of(region.source)) is not None:
                found = region, source
        return None if found is None else _function(*found)

    def _combined(self, node: ir.Node) -> Normal | None:
        """Sums and products of values of one rank; one channel counts for all."""
        found = [self._of(value) for value in node.inputs]
        parts = [moments for moments in found if moments is not None]
        ranks = {None if (s := shape_of(value)) is None else len(s) for value in node.inputs}
        if len(parts) < len(found) or len(ranks) > 1 or None in ranks:
            return None
        if len({part.mean.size for part in parts} - {1}) > 1:
            return None
        if is_op(node, "Mul"):
            return functools.reduce(product, parts)
        signs = [-1.0 if is_op(node, "Sub") and place else 1.0 for place in range(len(parts))]
        mean = sum(sign * part.mean for sign, part in zip(signs, parts, strict=True))
        return Normal(np.asarray(mean), np.asarray(sum(part.variance for part in parts)))

    def _moved(self, node: ir.Node) -> Normal | None:
        """Concat, Reshape, Transpose …: follows where whole channels go."""
        found = [self._of(value) for value in moved_values(node)] if node.inputs else []
        parts = [moments for moments in found if moments is not None]
        if not parts or len(parts) < len(found):
            return None
        joined = Normal(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        if is_op(node, "Concat") and node.attributes.get_int("axis", 0) == 1:
            return joined
        ends = np.cumsum([part.mean.size for part in parts])
        rows = moved_channels(node, np.split(np.arange(ends[-1]), ends[:-1]))
        if rows is None or (rows != rows[:, :1]).any():
            return None
        return Normal(joined.mean[rows[:, 0]], joined.variance[rows[:, 0]])

    def _split(self, node: ir.Node) -> list[Normal | None]:
        x, shape = self._of(node.inputs[0]), shape_of(node.inputs[0])
        axis = node.attributes.get_int("axis", 0) or 0
        if x is None or shape is None or not axis % len(shape):
            return []
        if axis % len(shape) != 1:
            return [x for _ in node.outputs]
        sizes = [None if (s := shape_of(part)) is None else s[1] for part in node.outputs]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes) or sum(known) != x.mean.size:
            return []
        cuts = np.cumsum(known)[:-1]
        parts = zip(np.split(x.mean, cuts), np.split(x.variance, cuts), strict=True)
        return [Normal(mean, variance) for mean, variance in parts]


def _function(region: Region, x: Normal) -> Normal:
    if len(region.nodes) == 1 and region.ops[0] in ("Relu", "Clip"):
        if region.ops[0] == "Relu":
            return clipped(x, low=0.0)
        low, high = [*map(scalar_of, region.nodes[0].inputs[1:]), None, None][:2]
        bounds = (-math.inf if low is None else low, math.inf if high is None else high)
        if bounds[0] <= bounds[1]:
            return clipped(x, *bounds)
    return mapped(x, region)


def _through_prelu(node: ir.Node, x: Normal) -> Normal | None:
    slope, shape = weight_of(node.inputs[1]), shape_of(node.inputs[0])
    if slope is None or shape is None:
        return None
    along = slope.ndim + 1 - len(shape)
    fits = slope.size == 1 or (along >= 0 and slope.shape[along] == slope.size == x.mean.size)
    if not fits:
        return None
    column = slope.reshape(-1, 1).astype(np.float64)
    return mapped(x, lambda y: np.where(y < 0, column * y, y))


def _padded(node: ir.Node, x: Normal) -> Normal | None:
    """Channels of zeros in front and behind; zeros around each channel are left out of account."""
    amounts, shape = weight_of(node.inputs[1]), shape_of(node.inputs[0])
    filled = scalar_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else 0.0
    constant = node.attributes.get_string("mode", "constant") == "constant" and filled == 0.0
    chosen = weight_of(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else None
    if amounts is None or shape is None or not constant:
        return None
    axes = range(len(shape)) if chosen is None else (chosen % len(shape)).tolist()
    ends = dict(zip(axes, amounts.reshape(2, -1).T.tolist(), strict=True))
    if any(ends.get(0, (0, 0))) or min(ends.get(1, (0, 0))) < 0:
        return None
    return Normal(*(np.pad(array, ends.get(1, (0, 0))) for array in x))


def _averages(node: ir.Node) -> bool:
    """Whether ``node`` is a mean over positions inside each channel that keeps axis 1 in place."""
    if not is_op(node, "ReduceMean"):
        return False
    shape = shape_of(node.inputs[0])
    axes = weight_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return shape is not None and axes is not None and bool((axes % len(shape) > 1).all())


def _coverage(layer: LinearLayer) -> Array:
    """Returns, for each tap, the part of the output positions where it reads no padding.

    float64, broadcasts against the weight. Without static sizes the border is left out of account.
    A ConvTranspose spreads its taps: each output position has one in product(strides) of them.
    """
    if layer.kind == "ConvTranspose":
        strides = layer.node.attributes.get_ints("strides", ()) or ()
        return np.asarray(1.0 / math.prod(strides))
    window = window_of(layer.node) if layer.padded else ""
    sizes = (shape_of(layer.source) or ())[2:]
    if isinstance(window, str) or len(sizes) != len(window.kernel) or None in sizes:
        return np.ones(())
    whole = np.ones(window.kernel)
    for axis, size in enumerate(sizes):
        assert size is not None
        count = (size - 1 + window.slack[axis]) // window.strides[axis] + 1
        starts = np.arange(max(count, 1)) * window.strides[axis]
        reads = starts + np.array(window.offsets(axis))[:, np.newaxis]
        inside = ((reads >= 0) & (reads < size)).mean(axis=1)
        whole = whole * inside.reshape([-1 if i == axis else 1 for i in range(len(sizes))])
    return whole
