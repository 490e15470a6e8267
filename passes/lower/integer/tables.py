"""Functions of one number as tables of 256 codes: y = table[x]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import shape_of
from onnxq.graph.roles import attribute
from onnxq.numerics.affine import quantize
from onnxq.passes.lower.integer.scope import PLANAR, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Reals = npt.NDArray[np.float64]
    Function = Callable[[Reals, ir.Node], Reals]

__all__ = ["FUNCTIONS", "HANDLERS"]

_CODES = 256
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Reals, _: ir.Node) -> Reals:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)


def _softplus(x: Reals) -> Reals:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), np.float64)


def _gelu(x: Reals, node: ir.Node) -> Reals:
    if attribute(node, "approximate", "none") == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return np.asarray(0.5 * x * (1 + np.tanh(inner)), np.float64)
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))), np.float64)


def _hard_sigmoid(x: Reals, node: ir.Node) -> Reals:
    alpha, beta = float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5))
    return np.asarray(np.clip(alpha * x + beta, 0, 1), np.float64)


def _elu(x: Reals, node: ir.Node) -> Reals:
    alpha = float(attribute(node, "alpha", 1.0))
    return np.asarray(np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), np.float64)


def _celu(x: Reals, node: ir.Node) -> Reals:
    alpha = float(attribute(node, "alpha", 1.0))
    return np.asarray(np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)), np.float64)


def _selu(x: Reals, node: ir.Node) -> Reals:
    alpha = float(attribute(node, "alpha", 1.67326319217681884765625))
    gamma = float(attribute(node, "gamma", 1.05070102214813232421875))
    inner = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    return np.asarray(gamma * inner, np.float64)


FUNCTIONS: dict[str, Function] = {
    "Abs": lambda x, _: np.abs(x),
    "Celu": _celu,
    "Elu": _elu,
    "Erf": lambda x, _: _erf(x),
    "Exp": lambda x, _: np.exp(x),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x, _: x * np.tanh(_softplus(x)),
    "Neg": lambda x, _: -x,
    "Selu": _selu,
    "Sigmoid": _sigmoid,
    "Softplus": lambda x, _: _softplus(x),
    "Softsign": lambda x, _: x / (1 + np.abs(x)),
    "Sqrt": lambda x, _: np.sqrt(np.maximum(x, 0)),
    "Tanh": lambda x, _: np.tanh(x),
}
"""Operator → the function in float64, of x and the node that holds its attributes."""


def _looked_up(scope: Scope) -> None:
    node = scope.node
    source, out = node.inputs[0], node.outputs[0]
    planar = len(shape_of(source) or ()) == PLANAR
    codes = scope.read(0, last=planar and scope.prefers_last(source))
    wanted = scope.written(out)
    x = np.asarray(codes.scale * (np.arange(_CODES) - codes.zero), np.float64)
    y = np.clip(FUNCTIONS[node.op_type](x, node), -3e38, 3e38).astype(np.float32)
    scale, zero = wanted.scale.astype(np.float32), wanted.zero.astype(np.int32)
    table = quantize(y, scale, zero, wanted.limits)
    stem = str(out.name)
    places = scope.cast(codes.value, ir.DataType.INT32, f"{stem}_places")
    constant = scope.constant(f"{stem}_table", table, np.uint8)
    found = scope.op(
        "Gather", [constant, places], ir.DataType.UINT8, f"{stem}_quantized", {"axis": 0}
    )
    scope.write(out, found, last=codes.last)


HANDLERS = dict.fromkeys(FUNCTIONS, _looked_up)
