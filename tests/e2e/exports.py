"""Builds small models the way exporters write them, optimizes them, and compares what comes out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

import onnxq
from onnxq.graph.io import to_bytes
from onnxq.plan.cost import CostTable, KernelCost
from onnxq.plan.target import load_target
from onnxq.report.result import Latency
from tests.e2e.one_code import assert_levels_agree
from tests.support import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pytest

    from onnxq.plan.target import Target
    from onnxq.report.result import Result

    Feeds = Mapping[str, npt.NDArray[Any]]

__all__ = [
    "FOUND",
    "assert_agrees",
    "assert_goes_through",
    "export",
    "first_sample",
    "samples_for",
    "sqnr",
    "take_all_to_integers",
]

SAMPLES = 8
FOUND = "found"
"""Name of the first dimension of an output that lists what was found: as many rows as that."""


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


def samples_for(proto: onnx.ModelProto, **sizes: int) -> dict[str, npt.NDArray[Any]]:
    """Draws inputs of the model's declared shapes, samples along the first axis.

    Args:
        proto: The model.
        sizes: Name of a dimension → its size; 16 for others.
    """
    rng = np.random.default_rng(1)
    weights = {tensor.name for tensor in proto.graph.initializer}
    found: dict[str, npt.NDArray[Any]] = {}
    for value in proto.graph.input:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        dims = [dim.dim_value or sizes.get(dim.dim_param, 0) for dim in kind.shape.dim]
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


def eager_target(name: str) -> Target:
    """A target on which integer kernels and conversions cost nothing."""
    real, free = load_target(name), KernelCost()
    assert real.costs is not None
    slow = dict.fromkeys(real.costs.real, KernelCost(call_us=1000))
    return replace(real, costs=CostTable({}, slow, free, free))


def take_all_to_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets small models run on integers wherever they can, and spends no time on timing them."""
    monkeypatch.setattr("onnxq.targeting.load_target", eager_target)
    monkeypatch.setattr("onnxq.pipeline.latency", lambda *_: Latency(1.0, 1.0, 1.0, 1.0, 1.0))


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
    assert_agrees(proto, result.model, first_sample(proto, data), least)
    return result


def assert_agrees(
    proto: onnx.ModelProto, quantized: ir.Model, feed: Feeds, least: float = 10.0
) -> None:
    """Asserts that a result computes the same at both levels and resembles what it was made from.

    Args:
        proto: The model as it was given.
        quantized: What was made of it.
        feed: Inputs.
        least: Least SQNR of a float output in dB. Outputs that list what was found (see FOUND)
            are equal at both levels, but other than before where a score is near the threshold.
    """
    assert_levels_agree(quantized, feed)
    expected, got = run(_nameless(proto), feed), run(quantized, feed, "all")
    for name, reference in expected.items():
        assert got[name].dtype == reference.dtype, name
        if name in _lists(proto):
            continue
        assert got[name].shape == reference.shape, name
        if np.issubdtype(reference.dtype, np.floating):
            assert sqnr(reference, got[name]) > least, name


def _lists(proto: onnx.ModelProto) -> set[str]:
    first = {v.name: v.type.tensor_type.shape.dim[:1] for v in proto.graph.output}
    return {name for name, dims in first.items() if any(d.dim_param == FOUND for d in dims)}


def first_sample(proto: onnx.ModelProto, data: Feeds) -> Feeds:
    """Returns the first sample of ``data`` as the model takes it."""
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
