"""Recognizes activation functions that are spelled out in several nodes.

A region of pointwise nodes (:mod:`onnxq.graph.pointwise`) is evaluated in float64 on a grid and
compared with the functions known here. Equal means: |region(x) - f(x)| ≤ 2e-6 · max(1, |f(x)|) on
the whole grid, which holds [-30, 30] in steps of 0.05, both tails out to 1e8, and the
neighbourhood of every constant in the region. Tails where the region's own arithmetic overflows
(Exp) are left out. So constants that were rounded to float32 pass, and a slope of 0.1667 in place
of 1/6, which is another function, does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.edit import add_initializer, new_node, remove_unread, take_over
from onnxq.graph.pointwise import Region, gelu, is_pointwise, regions, sigmoid
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["RecognizeActivationsPass"]

_TOLERANCE = 2e-6
_CENTRE = np.linspace(-30.0, 30.0, 1201)
_TAIL = np.geomspace(31.0, 1e8, 40)
_FAR = 1e8
_LARGEST = float(np.finfo(np.float32).max)
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


class _Form(NamedTuple):
    """The form in which a function is to be written.

    ``attributes`` belong to the operator; ``bounds`` are Clip's. The form "SiLU" is Mul(x,
    Sigmoid(x)), all others are the one operator of that name.
    """

    name: str
    ops: tuple[str, ...]
    function: Callable[[Array], Array]
    attributes: dict[str, Any] = {}  # noqa: RUF012 (never written to)
    bounds: tuple[float | None, ...] = ()
    opset: int = 1


class RecognizeActivationsPass(RewritePass):
    """Writes activation functions in one form each, however they were spelled.

    1. The region begins at a float value and computes one of: Relu, Clip, LeakyRelu, HardSigmoid,
       HardSwish, Sigmoid, SiLU (= x · Sigmoid(x), which ONNX writes as two nodes), Softplus, Mish,
       Gelu and its tanh form.
    2. It is not already written in that form.
    3. No value inside is read outside or is a graph output.
    4. The model's opset has the operator.
    5. The largest region wins: Clip(Relu(x), max=6) becomes one Clip.
    """

    name = "recognize-activations"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the main graph from its end, so that whole functions come before their parts."""
        modified = False
        position = {node: index for index, node in enumerate(model.graph)}
        opset = model.graph.opset_imports.get("", 1)
        for node in reversed(list(model.graph)):
            if node.graph is not None and is_pointwise(node):
                modified |= self._try_recognize(list(regions(node, position)), opset)
        return ir.passes.PassResult(model, modified)

    def _try_recognize(self, candidates: list[Region], opset: int) -> bool:
        for region in reversed(candidates):
            form = _recognize(region) if region.dtype in _FLOATS else None
            if form is None:
                continue
            if form.ops == region.ops:
                return False
            if form.opset > opset:
                self.refuse(region.target, f"{form.name} needs opset {form.opset}")
            elif region.leak is not None:
                self.refuse(
                    region.target, f"{form.name}, but {region.leak.name} is also read elsewhere"
                )
            else:
                self.fired(region.target, f"{', '.join(region.ops)} recognized as {form.name}")
                _write(region, form)
                return True
        return False


def _recognize(region: Region) -> _Form | None:
    constants = np.asarray(region.constants, np.float64)
    near = np.concatenate([constants + step for step in (-1.0, -1e-3, 0.0, 1e-3, 1.0)])
    x = np.concatenate([_CENTRE, _TAIL, -_TAIL, near, -near, 2 * near]).clip(-_LARGEST, _LARGEST)
    y = region(x)
    finite = np.isfinite(y)
    if not finite[: _CENTRE.size].all():
        return None
    x, y = x[finite], y[finite]
    candidates = [*_fitted(region), *_FIXED]
    return next((form for form in candidates if _equal(form, x, y)), None)


def _equal(form: _Form, x: Array, y: Array) -> bool:
    """Compares at a few points first, which is mostly enough to tell two functions apart."""
    few = slice(None, None, 97)
    for some_x, some_y in ((x[few], y[few]), (x, y)):
        expected = form.function(some_x)
        bound = _TOLERANCE * np.maximum(1.0, np.abs(expected))
        if not (np.abs(some_y - expected) <= bound).all():
            return False
    return True


_FIXED = (
    _Form("HardSwish", ("HardSwish",), lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0), opset=14),
    _Form("Sigmoid", ("Sigmoid",), sigmoid),
    _Form("SiLU", ("Mul", "Sigmoid"), lambda x: x * sigmoid(x)),
    _Form("Softplus", ("Softplus",), lambda x: np.logaddexp(0.0, x)),
    _Form("Mish", ("Mish",), lambda x: x * np.tanh(np.logaddexp(0.0, x)), opset=18),
    _Form("Gelu", ("Gelu",), gelu, opset=20),
    _Form("Gelu", ("Gelu",), lambda x: gelu(x, "tanh"), {"approximate": "tanh"}, opset=20),
)


def _fitted(region: Region) -> Iterator[_Form]:
    """Yields the members of families with parameters that fit the region at chosen points."""
    low, high, at_zero, step, minus_one = (
        float(value) for value in region(np.array([-_FAR, _FAR, 0.0, 1e-3, -1.0]))
    )
    bounds = (low if low > -0.99 * _FAR else None, high if high < 0.99 * _FAR else None)
    if bounds == (0.0, None):
        yield _Form("Relu", ("Relu",), lambda x: np.maximum(x, 0.0))
    elif bounds != (None, None) and (low < high):
        yield _Form("Clip", ("Clip",), lambda x: np.clip(x, *bounds), bounds=bounds)
    if minus_one not in (0.0, -1.0):
        alpha = -minus_one
        yield _Form(
            "LeakyRelu",
            ("LeakyRelu",),
            lambda x: np.where(x < 0.0, alpha * x, x),
            {"alpha": alpha},
        )
    slope = (step - at_zero) * 1e3
    if 0.0 < at_zero < 1.0 and slope > 0.0:
        yield _Form(
            "HardSigmoid",
            ("HardSigmoid",),
            lambda x: np.clip(slope * x + at_zero, 0.0, 1.0),
            {"alpha": slope, "beta": at_zero},
        )


def _write(region: Region, form: _Form) -> None:
    """Puts the form in the place of the region."""
    before = region.target.producer()
    assert before is not None
    if form.name == "SiLU":
        gate = new_node(before, "Sigmoid", [region.source], dtype=region.dtype)
        gate.outputs[0].shape = region.target.shape
        result = new_node(before, "Mul", [region.source, gate.outputs[0]], dtype=region.dtype)
    else:
        inputs = [region.source, *_bounds(region, form)]
        result = new_node(before, form.name, inputs, form.attributes, dtype=region.dtype)
    take_over(region.target, result.outputs[0])
    remove_unread(region.nodes)


def _bounds(region: Region, form: _Form) -> Iterator[ir.Value | None]:
    graph, dtype = region.target.graph, region.dtype
    assert isinstance(graph, ir.Graph)
    assert dtype is not None
    for side, bound in zip(("min", "max"), form.bounds, strict=False):
        if bound is None:
            yield None
        else:
            array = np.asarray(bound, dtype.numpy())
            yield add_initializer(graph, f"{region.target.name}.{side}", array)
