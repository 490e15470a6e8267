"""Runs an ONNX graph of known shapes with torch, so that autograd can differentiate it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as fn

from onnxq.graph.query import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["RUNNERS", "torch_gradients"]

Tensor = Any
"""torch.Tensor, which is unknown where torch is not installed."""


class _Node:
    """What a runner reads of a node."""

    def __init__(self, node: ir.Node) -> None:
        self.attributes = node.attributes
        self.count = len(node.outputs)
        self._constants = [weight_of(value) for value in node.inputs]

    def ints(self, name: str, default: list[int] | None = None) -> list[int]:
        return list(self.attributes.get_ints(name, default or ()) or ())

    def constant(self, position: int) -> list[Any] | None:
        found = self._constants[position] if position < len(self._constants) else None
        return None if found is None else list(found.reshape(-1).tolist())


def torch_gradients(
    model: ir.Model,
    feeds: Mapping[str, npt.NDArray[Any]],
    wrt: list[str],
    cotangents: Mapping[str, npt.NDArray[Any]],
) -> dict[str, npt.NDArray[Any]]:
    """Gradients in double precision, by inputs and weights.

    Args:
        model: Specialized for the shapes of ``feeds``.
        feeds: Input name → array.
        wrt: Names of inputs and weights.
        cotangents: Output name → array.
    """
    values: dict[str, Tensor] = {}
    constants = {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    for name, array in {**constants, **feeds}.items():
        tensor = torch.from_numpy(np.array(array))
        values[name] = tensor.double() if tensor.is_floating_point() else tensor
    for name in wrt:
        values[name].requires_grad_()
    for node in model.graph:
        inputs = [None if value is None else values[str(value.name)] for value in node.inputs]
        results = RUNNERS[node.op_type](_Node(node), *inputs)
        results = results if isinstance(results, tuple | list) else (results,)
        for output, result in zip(node.outputs, results, strict=True):
            values[str(output.name)] = result
    loss = sum(
        (values[name] * torch.from_numpy(d).double()).sum() for name, d in cotangents.items()
    )
    found = torch.autograd.grad(loss, [values[name] for name in wrt])
    return {name: gradient.numpy() for name, gradient in zip(wrt, found, strict=True)}


def _padded(node: _Node, x: Tensor, filler: float = 0.0) -> Tensor:
    pads = node.ints("pads", [0] * 2 * (x.dim() - 2))
    half = len(pads) // 2
    pairs = [pads[axis + side * half] for axis in reversed(range(half)) for side in (0, 1)]
    return fn.pad(x, pairs, value=filler) if any(pads) else x


def _conv(node: _Node, x: Tensor, weight: Tensor, bias: Tensor = None) -> Tensor:
    ones = [1] * (x.dim() - 2)
    run = (fn.conv1d, fn.conv2d, fn.conv3d)[x.dim() - 3]
    strides, dilations = node.ints("strides", ones), node.ints("dilations", ones)
    group = node.attributes.get_int("group", 1)
    return run(_padded(node, x), weight, bias, strides, 0, dilations, group)


def _conv_transpose(node: _Node, x: Tensor, weight: Tensor, bias: Tensor = None) -> Tensor:
    ones = [1] * (x.dim() - 2)
    run = (fn.conv_transpose1d, fn.conv_transpose2d, fn.conv_transpose3d)[x.dim() - 3]
    pads = node.ints("pads", [0] * 2 * len(ones))
    return run(
        x,
        weight,
        bias,
        node.ints("strides", ones),
        pads[: len(ones)],
        node.ints("output_padding", [0] * len(ones)),
        node.attributes.get_int("group", 1),
        node.ints("dilations", ones),
    )


def _max_pool(node: _Node, x: Tensor) -> Tensor:
    kernel = node.ints("kernel_shape")
    strides = node.ints("strides", [1] * len(kernel))
    dilations = node.ints("dilations", [1] * len(kernel))
    return fn.max_pool2d(_padded(node, x, -torch.inf), kernel, strides, 0, dilations)


def _average_pool(node: _Node, x: Tensor) -> Tensor:
    kernel, pads = node.ints("kernel_shape"), node.ints("pads", [0] * 4)
    counted = bool(node.attributes.get_int("count_include_pad", 0))
    strides = node.ints("strides", [1] * len(kernel))
    ceil = bool(node.attributes.get_int("ceil_mode", 0))
    return fn.avg_pool2d(x, kernel, strides, pads[:2], ceil, counted)


def _gemm(node: _Node, a: Tensor, b: Tensor, c: Tensor = None) -> Tensor:
    a = a.T if node.attributes.get_int("transA", 0) else a
    b = b.T if node.attributes.get_int("transB", 0) else b
    y = node.attributes.get_float("alpha", 1.0) * (a @ b)
    return y if c is None else y + node.attributes.get_float("beta", 1.0) * c


def _batch_norm(node: _Node, x: Tensor, scale: Tensor, *rest: Tensor) -> Tensor:
    bias, mean, var = rest
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    return fn.batch_norm(x, mean, var, scale, bias, training=False, eps=epsilon)


def _layer_norm(node: _Node, x: Tensor, scale: Tensor, bias: Tensor = None) -> Tensor:
    axis = node.attributes.get_int("axis", -1) % x.dim()
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    return fn.layer_norm(x, x.shape[axis:], scale, bias, epsilon)


def _slice(node: _Node, x: Tensor, *_: Tensor) -> Tensor:
    starts, ends = node.constant(1) or [], node.constant(2) or []
    axes = node.constant(3) or list(range(len(starts)))
    for start, end, axis, step in zip(
        starts, ends, axes, node.constant(4) or [1] * len(starts), strict=True
    ):
        picked = torch.arange(x.shape[axis]).numpy()[start:end:step]
        x = x.index_select(axis % x.dim(), torch.tensor(picked.tolist()))
    return x


def _gather(node: _Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.attributes.get_int("axis", 0) % x.dim()
    flat = x.index_select(axis, indices.reshape(-1) % x.shape[axis])
    return flat.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _resize(node: _Node, x: Tensor, *inputs: Tensor) -> Tensor:
    del inputs
    assert node.attributes.get_string("mode", "nearest") == "nearest"
    factors = node.constant(2) or [1, 1, 2, 2]
    return fn.interpolate(x, scale_factor=factors[2:], mode="nearest")


def _split(node: _Node, x: Tensor, sizes: Tensor = None) -> Tensor:
    axis = node.attributes.get_int("axis", 0)
    return x.tensor_split(node.count, axis) if sizes is None else x.split(sizes.tolist(), axis)


def _reduce_mean(node: _Node, x: Tensor, axes: Tensor) -> Tensor:
    return x.mean(axes.tolist(), bool(node.attributes.get_int("keepdims", 1)))


def _plain(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(node: _Node, *inputs: Tensor) -> Tensor:
        del node
        return function(*inputs)

    return run


RUNNERS: Mapping[str, Callable[..., Tensor]] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _plain(torch.clamp),
    "Concat": lambda node, *inputs: torch.cat(inputs, node.attributes.get_int("axis", 0)),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _plain(torch.div),
    "Elu": lambda node, x: fn.elu(x, node.attributes.get_float("alpha", 1.0)),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _plain(lambda x, shape: x.expand(shape.tolist())),
    "Flatten": lambda node, x: x.flatten(node.attributes.get_int("axis", 1)),
    "Gather": _gather,
    "Gelu": lambda node, x: fn.gelu(
        x, approximate=node.attributes.get_string("approximate", "none")
    ),
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean((2, 3), keepdim=True)),
    "HardSwish": _plain(fn.hardswish),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda node, x: fn.leaky_relu(x, node.attributes.get_float("alpha", 0.01)),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _plain(torch.mul),
    "Pow": _plain(torch.pow),
    "ReduceMean": _reduce_mean,
    "Relu": _plain(torch.relu),
    "Reshape": _plain(lambda x, shape: x.reshape(shape.tolist())),
    "Resize": _resize,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda node, x: x.softmax(node.attributes.get_int("axis", -1)),
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _plain(lambda x, axes: x.squeeze(axes.tolist())),
    "Sub": _plain(torch.sub),
    "Tanh": _plain(torch.tanh),
    "Transpose": lambda node, x: x.permute(node.ints("perm")),
    "Unsqueeze": _plain(lambda x, axes: x.reshape(_unsqueezed(x.shape, axes.tolist()))),
}


def _unsqueezed(shape: tuple[int, ...], axes: list[int]) -> list[int]:
    rank = len(shape) + len(axes)
    left = iter(shape)
    return [1 if axis in {a % rank for a in axes} else next(left) for axis in range(rank)]
