"""Operators that onnx's reference evaluator has not, or not in double precision or with groups."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnx.reference.op_run import OpRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["REFERENCE_OPS"]


class Erf(OpRun):
    def _run(self, x: Array) -> tuple[Array]:
        return (_erf(x),)


class Gelu(OpRun):
    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
            return (0.5 * x * (1 + np.tanh(inner)),)
        return (0.5 * x * (1 + _erf(x / math.sqrt(2))),)


class GroupNormalization(OpRun):
    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        *,
        num_groups: int,
        epsilon: float = 1e-5,
        **_: object,
    ) -> tuple[Array]:
        groups = x.reshape(x.shape[0], num_groups, -1)
        spread = np.sqrt(groups.var(-1, keepdims=True) + epsilon)
        normal = ((groups - groups.mean(-1, keepdims=True)) / spread).reshape(x.shape)
        wide = (-1, *(1,) * (x.ndim - 2))
        return (normal * scale.reshape(wide) + bias.reshape(wide),)


class LRN(OpRun):
    def _run(
        self, x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
    ) -> tuple[Array]:
        sums = np.zeros_like(x)
        for c in range(x.shape[1]):
            sums[:, c] = (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(1)
        return (x / (bias + alpha / size * sums) ** beta,)


class Mean(OpRun):
    def _run(self, *terms: Array) -> tuple[Array]:
        return (sum(terms[1:], terms[0]) / len(terms),)


class GlobalMaxPool(OpRun):
    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(tuple(range(2, x.ndim)), keepdims=True),)


class MaxPool(OpRun):
    def _run(
        self,
        x: Array,
        *,
        kernel_shape: list[int],
        strides: list[int] | None = None,
        dilations: list[int] | None = None,
        pads: list[int] | None = None,
        ceil_mode: int = 0,
        **_: object,
    ) -> tuple[Array, ...]:
        rank = len(kernel_shape)
        strides, dilations = strides or [1] * rank, dilations or [1] * rank
        pads = pads or [0] * 2 * rank
        reach = [(k - 1) * d + 1 for k, d in zip(kernel_shape, dilations, strict=True)]
        spare = [x.shape[2 + i] + pads[i] + pads[rank + i] - reach[i] for i in range(rank)]
        sizes = [
            (-(-n // s) if ceil_mode else n // s) + 1 for n, s in zip(spare, strides, strict=True)
        ]
        width = [(0, 0)] * 2 + [(pads[i], pads[rank + i] + strides[i]) for i in range(rank)]
        wide = np.pad(x, width, constant_values=-np.inf)
        numbers = np.pad(np.arange(x.size).reshape(x.shape), width, constant_values=-1)
        best = np.full((*x.shape[:2], *sizes), -np.inf)
        where = np.zeros(best.shape, np.int64)
        for tap in itertools.product(*map(range, kernel_shape)):
            steps = zip(tap, dilations, strides, sizes, strict=True)
            cut = _positions([slice(j * d, j * d + (n - 1) * s + 1, s) for j, d, s, n in steps])
            seen = wide[cut]
            where = np.where(seen > best, numbers[cut], where)
            best = np.maximum(seen, best)
        return (best, where)[: len(self.output)]


class Pad(OpRun):
    def _run(
        self,
        x: Array,
        pads: Array,
        value: Array | None = None,
        axes: Array | None = None,
        mode: Literal["constant", "reflect", "edge", "wrap"] = "constant",
    ) -> tuple[Array]:
        order = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
        widths, cut = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
        for place, axis in enumerate(order):
            begin, end = int(pads[place]), int(pads[len(pads) // 2 + place])
            widths[axis] = max(0, begin), max(0, end)
            cut[axis] = slice(max(0, -begin), x.shape[axis] - max(0, -end))
        x = x[tuple(cut)]
        if mode == "constant":
            return (np.pad(x, widths, constant_values=0 if value is None else value),)
        return (np.pad(x, widths, mode=mode),)


class ConvTranspose(OpRun):
    def _run(
        self,
        x: Array,
        weight: Array,
        bias: Array | None = None,
        *,
        group: int = 1,
        dilations: list[int] | None = None,
        strides: list[int] | None = None,
        pads: list[int] | None = None,
        output_padding: list[int] | None = None,
        **_: object,
    ) -> tuple[Array]:
        kernel, sizes = weight.shape[2:], x.shape[2:]
        rank = len(kernel)
        strides, dilations = strides or [1] * rank, dilations or [1] * rank
        pads, extra = pads or [0] * 2 * rank, output_padding or [0] * rank
        full = [
            (n - 1) * s + (k - 1) * d + 1 + e
            for n, s, k, d, e in zip(sizes, strides, kernel, dilations, extra, strict=True)
        ]
        into, out = x.shape[1] // group, weight.shape[1]
        y: Array = np.zeros((x.shape[0], group * out, *full), x.dtype)
        for g in range(group):
            part, own = x[:, g * into : (g + 1) * into], weight[g * into : (g + 1) * into]
            for tap in itertools.product(*map(range, kernel)):
                steps = zip(tap, dilations, strides, sizes, strict=True)
                where = _positions(
                    [slice(j * d, j * d + (n - 1) * s + 1, s) for j, d, s, n in steps]
                )
                sent = np.einsum("nc...,co->no...", part, own[_positions(tap)])
                y[:, g * out : (g + 1) * out][where] += sent
        crop = [slice(pads[i], full[i] - pads[rank + i]) for i in range(rank)]
        y = y[_positions(crop)]
        return (y if bias is None else y + bias.reshape(-1, *(1,) * rank),)


def _positions(cut: Sequence[slice | int]) -> Any:  # noqa: ANN401 (an index)
    """Index of the last axes."""
    return (..., *cut)


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[x.dtype])(x))


REFERENCE_OPS = [
    ConvTranspose,
    Erf,
    Gelu,
    GlobalMaxPool,
    GroupNormalization,
    LRN,
    MaxPool,
    Mean,
    Pad,
]
