"""Builds small models the way exporters write them, optimizes them, and compares what comes out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

import onnxq
from onnxq.graph.io import to_bytes
from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnxq.report.result import Result

    Feeds = Mapping[str, npt.NDArray[Any]]

__all__ = ["assert_goes_through", "export", "samples_for", "sqnr"]

SAMPLES = 8


def export(
    text: str,
    opset: int = 17,
    ir_version: int = 8,
    *,
    listed: bool = False,
    **weights: npt.ArrayLike,
) -> onnx.ModelProto:
    """Parses a graph; all its inputs but those whose names begin with x become initializers.

    Args:
        text: ``name (inputs) => (outputs) { nodes }``.
        opset: Of the default domain.
        ir_version: Of the file.
        listed: Whether initializers stay among the graph's inputs, as IR 3 wants it.
        weights: Initializer name → data; others are drawn: He-normal for matrices and filters,
            0.5..1.5 for vectors whose names begin with s, small values for other vectors.
    """
    proto = onnx.parser.parse_model(
        f'<ir_version: {ir_version}, opset_import: ["": {opset}, "local": 1]>\n{text}'
    )
    rng = np.random.default_rng(0)
    for value in list(proto.graph.input):
        if value.name.startswith("x"):
            continue
        shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        dtype = _dtype(value.type.tensor_type.elem_type)
        given = weights.get(value.name)
        drawn = _drawn(rng, value.name, shape) if given is None else given
        array = np.asarray(drawn).astype(dtype).reshape(shape)
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
        if not listed:
            proto.graph.input.remove(value)
    return proto


def _dtype(kind: int) -> np.dtype[Any]:
    return np.dtype(ir.DataType(kind).numpy())


def _drawn(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if name.startswith("s"):
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) > 1:
        fan_in = math.prod(shape[1:]) if len(shape) > 2 else shape[0]
        return rng.standard_normal(shape) * math.sqrt(2 / fan_in)
    return rng.standard_normal(shape) * 0.1


def samples_for(proto: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """Draws inputs of the model's declared shapes, samples along the first axis."""
    rng = np.random.default_rng(1)
    weights = {tensor.name for tensor in proto.graph.initializer}
    found: dict[str, npt.NDArray[Any]] = {}
    for value in proto.graph.input:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        # an axis of 1 or of unknown size counts samples; any other is part of each sample
        one = dims[1:] if dims[0] in (0, 1) else dims
        shape = (SAMPLES, *(size or 16 for size in one))
        dtype = _dtype(kind.elem_type)
        if np.issubdtype(dtype, np.integer):
            found[value.name] = rng.integers(0, 256, shape).astype(dtype)
        else:
            found[value.name] = rng.standard_normal(shape).astype(dtype)
    return found


def sqnr(reference: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """Returns the signal-to-quantization-noise ratio in dB."""
    signal = reference.astype(np.float64)
    noise = float(np.square(signal - got).sum())
    return math.inf if noise == 0 else 10 * math.log10(float(np.square(signal).sum()) / noise)


def assert_goes_through(proto: onnx.ModelProto, least: float = 10.0, **options: Any) -> Result:  # noqa: ANN401
    """Optimizes a model and asserts that the result runs at both levels and resembles it.

    Args:
        proto: The model.
        least: Least SQNR of a float output in dB; outputs of integers must be equal.
        options: Of :func:`onnxq.optimize`.
    """
    untouched = proto.SerializeToString()
    data = samples_for(proto)
    result = onnxq.optimize(proto, data=data, check=True, threads=1, **options)
    assert proto.SerializeToString() == untouched
    assert [row for row in result.trace if row.rolled_back] == []
    quantized = to_bytes(result.model)
    onnx.checker.check_model(quantized, full_check=True)
    assert [_face(value) for value in result.model.graph.outputs] == [
        (value.name, value.type.tensor_type.elem_type) for value in proto.graph.output
    ]
    feed = _first(proto, data)
    expected = run(_nameless(proto), feed)
    for level in ("off", "all"):
        _assert_close(expected, run(quantized, feed, level), least, level)
    return result


def _first(proto: onnx.ModelProto, data: Feeds) -> Feeds:
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in proto.graph.input}
    return {name: a[:1] if a.ndim == ranks[name] else a[0] for name, a in data.items()}


def _face(value: ir.Value) -> tuple[str | None, int]:
    assert value.dtype is not None
    return value.name, int(value.dtype)


def _nameless(proto: onnx.ModelProto) -> bytes:
    """The model without node names, which onnxruntime wants to be unique."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        node.name = ""
    return bytes(copy.SerializeToString())


def _assert_close(expected: Feeds, got: Feeds, least: float, level: str) -> None:
    for name, reference in expected.items():
        assert got[name].shape == reference.shape, (level, name)
        assert got[name].dtype == reference.dtype, (level, name)
        if np.issubdtype(reference.dtype, np.floating):
            assert sqnr(reference, got[name]) > least, (level, name)
