"""Linear layers (Conv, ConvTranspose, Gemm, MatMul) seen alike: channels in, channels out, a bias.

With weight W, bias b and per-channel vectors s, t, every such layer L(x) = W x + b obeys::

    s · L(x) + t  =  (s · W) x + (s · b + t)            s, t over output channels, always
    L(s · x)      =  (W · s) x + b                      s over input channels, always
    L(x + t)      =  W x + (b + Σ W t)                  only where no position is padded

All arithmetic is in float64 and rounded once, on writing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.edit import replace_weight
from onnxq.graph.query import heavy, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]

__all__ = ["LinearLayer", "linear_layer"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A node of one of the four kinds with constant weight and, if any, constant bias.

    Attributes:
        node: The node.
        stored: The weight as the model holds it: mapped from the file, if that is.
        alpha: Gemm's factor on it.
        bias: float64 [out_channels], times Gemm's beta; None without a bias.
    """

    node: ir.Node
    stored: npt.NDArray[np.floating]
    alpha: float
    bias: Array | None

    @property
    def weight(self) -> Array:
        """The weight times alpha, float64: computed when asked for, as all layers may be known."""
        return np.asarray(self.stored, np.float64) * self.alpha

    @property
    def kind(self) -> str:
        """The operator."""
        return self.node.op_type

    @property
    def source(self) -> ir.Value:
        """What it reads."""
        value = self.node.inputs[0]
        assert value is not None, "a linear layer reads something"
        return value

    @property
    def target(self) -> ir.Value:
        """What it computes."""
        return self.node.outputs[0]

    @property
    def group(self) -> int:
        """The number of channel groups."""
        return self.node.attributes.get_int("group", 1) or 1

    @property
    def out_channels(self) -> int:
        """The number of output channels."""
        if self.kind == "ConvTranspose":
            return int(self.stored.shape[1]) * self.group
        return int(self.stored.shape[_out_axis(self.node)])

    @property
    def in_channels(self) -> int:
        """The number of input channels."""
        if self.kind == "Conv":
            return int(self.stored.shape[1]) * self.group
        return int(self.stored.shape[_in_axis(self.node)])

    @property
    def channel_axis(self) -> int:
        """The axis of the input and of the output that holds the channels: 1 or -1."""
        return 1 if self.kind in ("Conv", "ConvTranspose") else -1

    @property
    def rank(self) -> int | None:
        """The rank of input and output; None if unknown (MatMul only)."""
        if self.kind == "MatMul":
            shape = shape_of(self.node.inputs[0])
            return None if shape is None else len(shape)
        return self.stored.ndim

    @property
    def padded(self) -> bool:
        """Whether some outputs see zeros from beyond the border."""
        if self.kind in ("Gemm", "MatMul"):
            return False
        pads = self.node.attributes.get_ints("pads", ()) or ()
        same = self.node.attributes.get_string("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
        return self.kind == "ConvTranspose" or same or any(pads)

    def scaled_outputs(self, scale: Array) -> Array:
        """Returns the weight with output channel i multiplied by ``scale[i]``."""
        weight = self.weight
        if self.kind == "ConvTranspose":
            grouped = weight.reshape(self.group, -1, *weight.shape[1:])
            factors = scale.reshape(self.group, 1, -1, *[1] * (weight.ndim - 2))
            return np.asarray(grouped * factors).reshape(weight.shape)
        return weight * _along(scale, _out_axis(self.node), weight.ndim)

    def scaled_inputs(self, scale: Array) -> Array:
        """Returns the weight with input channel i multiplied by ``scale[i]``."""
        weight = self.weight
        if self.kind == "Conv":
            grouped = weight.reshape(self.group, -1, *weight.shape[1:])
            factors = scale.reshape(self.group, 1, -1, *[1] * (weight.ndim - 2))
            return np.asarray(grouped * factors).reshape(weight.shape)
        return weight * _along(scale, _in_axis(self.node), weight.ndim)

    def with_weight(self, weight: Array) -> LinearLayer:
        """Returns the layer with another weight of the same shape."""
        return replace(self, stored=weight, alpha=1.0)

    def magnitudes(self) -> Array:
        """Returns the greatest magnitude of the weight for each pair of channels.

        Returns:
            float64 [groups, out_channels per group, in_channels per group].
        """
        return np.asarray(np.abs(self.taps()).max(axis=3, initial=0.0).swapaxes(1, 2))

    def taps(self) -> Array:
        """Returns the weight with its axes in one order for all kinds of layer.

        Returns:
            float64 [groups, in_channels per group, out_channels per group, taps].
        """
        if self.kind in ("Gemm", "MatMul"):
            table = self.weight.T if _out_axis(self.node) == 0 else self.weight
            return table[np.newaxis, :, :, np.newaxis]
        weight = self.weight
        grouped = weight.reshape(self.group, -1, weight.shape[1], weight[0, 0].size)
        return grouped.swapaxes(1, 2) if self.kind == "Conv" else grouped

    def response(self, shift: Array) -> Array:
        """Returns what a constant input ``shift[i]`` in channel i adds to each output channel.

        Args:
            shift: float64 [in_channels].

        Returns:
            float64 [out_channels]. All taps count, which for a padded layer is what its interior
            sees, and for a ConvTranspose the sum over a block of product(strides) outputs.
        """
        if self.kind in ("Conv", "ConvTranspose"):
            taps = self.weight.sum(axis=tuple(range(2, self.stored.ndim)))
            grouped = taps.reshape(self.group, -1, taps.shape[1])
            grouped = grouped if self.kind == "Conv" else grouped.swapaxes(1, 2)
            shifts = shift.reshape(self.group, 1, -1)
            return np.asarray((grouped * shifts).sum(axis=2)).reshape(-1)
        weight = self.weight if _in_axis(self.node) == 0 else self.weight.T
        return np.asarray(shift @ weight)

    def write(self, weight: Array, bias: Array | None) -> str | None:
        """Gives the node this weight and bias, of its own if others read the old ones.

        Gemm's alpha and beta become 1, a MatMul that gets a bias becomes a Gemm. The dtype stays.

        Args:
            weight: The new weight.
            bias: The new bias, [out_channels]; None only for a layer without one.

        Returns:
            None if done; the reason if not, in which case nothing has changed.
        """
        if bias is not None and self.kind == "MatMul" and self.rank != 2:
            return "a MatMul takes a bias only where its input is known to have rank 2"
        arrays = self._rounded(weight, bias)
        if not _finite(arrays):
            return "the folded weight or bias would overflow"
        replace_weight(self.node, 1, arrays[0])
        self.node.attributes.pop("alpha", None)
        self.node.attributes.pop("beta", None)
        if bias is not None:
            if self.kind == "MatMul":
                self.node.op_type = "Gemm"
            replace_weight(self.node, 2, arrays[1], self._bias_stem())
        return None

    def holds(self, weight: Array, bias: Array | None) -> bool:
        """Returns whether the node's dtype has room for this weight and bias."""
        return _finite(self._rounded(weight, bias))

    def _rounded(self, weight: Array, bias: Array | None) -> list[npt.NDArray[Any]]:
        old = weight_of(self.node.inputs[1])
        assert old is not None
        with np.errstate(over="ignore"):
            return [np.asarray(a, old.dtype) for a in (weight, bias) if a is not None]

    def _bias_stem(self) -> str:
        old = self.node.inputs[2] if len(self.node.inputs) > 2 else None
        own = self.node.name or self.node.outputs[0].name
        return old.name if old is not None and old.name else f"{own}.bias"


def _finite(arrays: Iterable[npt.NDArray[Any]]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)


def linear_layer(node: ir.Node) -> LinearLayer | str:
    """Returns ``node`` as a linear layer, or the reason why it cannot be seen as one."""
    reason = _why_not(node)
    if reason is not None:
        return reason
    raw = weight_of(node.inputs[1])
    assert raw is not None
    alpha, beta = (
        float(node.attributes.get_float(name, 1.0)) if node.op_type == "Gemm" else 1.0
        for name in ("alpha", "beta")
    )
    layer = LinearLayer(node, raw, alpha, None)
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return layer
    bias = weight_of(value)
    if bias is None:
        return f"the bias of {node.op_type} is not constant"
    if bias.size not in (1, layer.out_channels) or any(dim != 1 for dim in bias.shape[:-1]):
        return f"the bias of {node.op_type} is not one number per output channel"
    spread = np.broadcast_to(bias.reshape(-1).astype(np.float64), layer.out_channels)
    return replace(layer, bias=np.asarray(spread * beta))


def _why_not(node: ir.Node) -> str | None:
    raw = weight_of(node.inputs[1]) if heavy(node) else None
    if raw is None:
        return f"{node.op_type} has no constant weight"
    if raw.dtype not in _FLOATS:
        return f"the weight of {node.op_type} is {raw.dtype}, not float32 or float64"
    if node.op_type == "MatMul" and raw.ndim != 2:
        return "the weight of MatMul does not have rank 2"
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) == 1:
        return "Gemm transposes its input"
    return None


def _along(vector: Array, axis: int, rank: int) -> Array:
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


def _out_axis(node: ir.Node) -> int:
    """The axis of the weight that runs over output channels (not ConvTranspose)."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1


def _in_axis(node: ir.Node) -> int:
    """The axis of the weight that runs over input channels (not Conv)."""
    return 1 - _out_axis(node) if node.op_type == "Gemm" else 0
