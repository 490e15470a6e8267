"""The factors per channel that a model's convolutions expect of what they read.

With W the weight of a convolution in the float model, V the same in the other one, f the factors of
what it reads and t those of what it writes:

    V[o, c] · f[c] ≈ t[o] · W[o, c]     so by least squares     f[c] = Σ t[o] W V / Σ V²

over all convolutions that read the value, from the last layer to the first; t is 1 where nothing
is scaled, and t[o] = s / s[o] where codes of one scale s are read with a scale s[o] per channel.
The factors count if they bring the weights closer by 3 dB than factors of 1 do, and if they differ
from channel to channel: nothing is gained by scaling all channels alike, so a reader whose whole
weight is too large does not speak of what it reads, it is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.packed import constant_codes
from onnxq.graph.query import weight_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.runtime.matching import MatchedLayer

    Factors = dict[str, npt.NDArray[np.float64]]

__all__ = ["reader_factors"]

_CLOSER = 0.5
# Standard deviation of log f up to which factors are all the same but for rounding.
_ALIKE = 0.03


def reader_factors(
    layers: Sequence[MatchedLayer], real: ir.Model, second: ir.Model
) -> dict[str, npt.NDArray[np.float64]]:
    """Returns value name → factors, float64 [C], of the values whose readers undo factors.

    Args:
        layers: In graph order.
        real: The float model with BatchNormalization folded, so that weights are comparable.
        second: The other one.
    """
    found: Factors = {}
    ends = {id(node): layer for layer in layers for node in layer.piece.nodes}
    wanted = {str(v.name): v for node in real.graph for v in node.outputs}
    values = {str(v.name): v for node in second.graph for v in node.outputs}
    for layer in reversed(layers):
        if layer.value not in wanted:
            continue
        pairs = list(_pairs(wanted[layer.value], [values[name] for name in layer.forms]))
        scaled = [(w, v, _written(ends.get(id(node)), values, found)) for node, w, v in pairs]
        factor = _solved(scaled)
        if factor is not None:
            found[layer.value] = factor
    return found


def _pairs(
    wanted: ir.Value, forms: Sequence[ir.Value]
) -> Iterator[tuple[ir.Node, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yields convolutions of the second model that read a value, with both models' weights."""
    real = {node.name: node for node in wanted.consumers() if node.op_type == "Conv"}
    for node in (reader for form in forms for reader in form.consumers()):
        other = real.get(node.name)
        if node.op_type != "Conv" or other is None:
            continue
        w, v = weight_of(other.inputs[1]), _dequantized(node.inputs[1])
        if w is not None and v is not None and w.shape == v.shape:
            yield node, w.astype(np.float64), v.astype(np.float64)


def _dequantized(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Returns a weight as its readers see it."""
    producer = None if value is None else value.producer()
    if producer is None or producer.op_type != "DequantizeLinear":
        return weight_of(value)
    codes = constant_codes(producer.inputs[0])
    scale = weight_of(producer.inputs[1])
    zero = weight_of(producer.inputs[2]) if len(producer.inputs) > 2 else None
    if codes is None or scale is None or scale.ndim > 1:
        return None
    shape = [1] * codes.ndim
    if scale.ndim:
        shape[producer.attributes.get_int("axis", 1)] = -1
    centre = 0 if zero is None else zero.astype(np.float64).reshape(shape)
    return np.asarray((codes.astype(np.float64) - centre) * scale.reshape(shape))


def _written(
    layer: MatchedLayer | None, values: Mapping[str, ir.Value], found: Factors
) -> npt.NDArray[np.float64] | None:
    """Returns the factors that a convolution writes its channels with; None for none."""
    if layer is None:
        return None
    if layer.value in found:
        return found[layer.value]
    dequantize = values[layer.found].producer()
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    codes = dequantize.inputs[0]
    quantize = None if codes is None else codes.producer()
    if quantize is not None and quantize.op_type == "Clip" and quantize.inputs[0] is not None:
        quantize = quantize.inputs[0].producer()
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return None
    written, read = weight_of(quantize.inputs[1]), weight_of(dequantize.inputs[1])
    if written is None or read is None or written.size != 1 or read.ndim != 1 or read.size == 1:
        return None
    return np.asarray(written.reshape(()) / read.astype(np.float64))


def _solved(
    readers: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64] | None]],
) -> npt.NDArray[np.float64] | None:
    """Returns the factors, or None where they are not needed or not to be had."""
    parts = []
    for w, v, t in readers:
        target = w if t is None else w * t.reshape(-1, *[1] * (w.ndim - 1))
        depthwise = w.shape[1] == 1
        parts.append(
            [np.asarray(x.reshape(len(x), -1) if depthwise else _by_input(x)) for x in (target, v)]
        )
    if not parts or len({len(target) for target, _ in parts}) > 1:
        return None
    target, weight = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    power = np.square(weight).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = (target * weight).sum(axis=1) / power
    factor = np.where(np.isfinite(factor) & (factor > 0), factor, 1.0)
    if np.log(factor).std() < _ALIKE:
        return None
    before = np.square(target - weight).sum()
    after = np.square(target - weight * factor[:, None]).sum()
    return factor if after < _CLOSER * before else None


def _by_input(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)
