"""Shared by tests: models written as text, run in onnxruntime, and compared.

Tests reach onnxruntime through this file alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx.parser
import onnx_ir as ir
import onnxruntime

from onnxq.graph.io import to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["Level", "assert_same_function", "feeds_for", "model", "run"]

Level = Literal["off", "basic", "extended", "all"]

_LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def model(text: str) -> ir.Model:
    """Parses a model in ONNX's text format.

    Args:
        text: For example ``<ir_version: 10, opset_import: ["": 21]> f (float[1,3] x) =>
            (float[1,3] y) { y = Relu(x) }``. The header may be left out: opset 21 is assumed.
    """
    if not text.lstrip().startswith("<"):
        text = '<ir_version: 10, opset_import: ["": 21]>\n' + text
    return ir.from_proto(onnx.parser.parse_model(text))


def run(
    source: ir.Model | bytes, feeds: Mapping[str, npt.NDArray[Any]], level: Level = "off"
) -> dict[str, npt.NDArray[Any]]:
    """Runs a model in onnxruntime on the CPU, one thread.

    Args:
        source: The model.
        feeds: Arrays by input name.
        level: Graph optimization level.

    Returns:
        All graph outputs by name.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = _LEVELS[level]
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        source if isinstance(source, bytes) else to_bytes(source),
        options,
        providers=["CPUExecutionProvider"],
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def feeds_for(source: ir.Model, seed: int = 0, batch: int = 2) -> dict[str, npt.NDArray[Any]]:
    """Makes standard normal inputs (small integers where integers are asked for).

    Args:
        source: The model; a dimension that is not static becomes ``batch``.
        seed: Of the random generator.
        batch: What stands for a dynamic dimension.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, npt.NDArray[Any]] = {}
    for value in source.graph.inputs:
        if value.is_initializer():
            continue
        assert value.name is not None
        assert value.dtype is not None
        dims = value.shape if value.shape is not None else ()
        shape = [dim if isinstance(dim, int) else batch for dim in dims]
        if value.dtype.is_floating_point():
            feeds[value.name] = rng.standard_normal(shape).astype(value.dtype.numpy())
        else:
            feeds[value.name] = rng.integers(0, 2, shape).astype(value.dtype.numpy())
    return feeds


def assert_same_function(
    before: ir.Model,
    after: ir.Model,
    feeds: Mapping[str, npt.NDArray[Any]] | None = None,
    rtol: float = 1e-5,
) -> None:
    """Asserts that two models agree on ``feeds``, with onnxruntime's optimizations off.

    Args:
        before: The reference.
        after: What should compute the same, with the same output names in the same order.
        feeds: Inputs; random ones when absent.
        rtol: Largest error allowed, relative to the output's largest magnitude. Integers and
            booleans must be equal.
    """
    feeds = feeds_for(before) if feeds is None else feeds
    expected, got = run(before, feeds), run(after, feeds)
    assert list(got) == list(expected)
    for name, reference in expected.items():
        actual = got[name]
        assert actual.shape == reference.shape, name
        assert actual.dtype == reference.dtype, name
        if not np.issubdtype(reference.dtype, np.floating):
            np.testing.assert_array_equal(actual, reference, err_msg=name)
            continue
        finite = np.abs(reference[np.isfinite(reference)])
        bound = rtol * float(finite.max()) if finite.size else 0.0
        np.testing.assert_allclose(actual, reference, rtol=0, atol=bound, err_msg=name)
