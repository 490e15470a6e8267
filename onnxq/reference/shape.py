"""What moves numbers and changes none, and what makes them from attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS"]


def _reshape(call: Call) -> Array:
    x = call.x()
    sizes = list(call.listed("shape", 1) or ())
    if not call.number("allowzero"):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(call: Call) -> Array:
    x = call.x()
    axis = call.number("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


def _squeeze(call: Call) -> Array:
    x = call.x()
    axes = call.listed("axes", 1)
    return np.squeeze(x, None if axes is None else axes)


def _unsqueeze(call: Call) -> Array:
    return np.expand_dims(call.x(), call.listed("axes", 1) or ())


def _transpose(call: Call) -> Array:
    return np.transpose(call.x(), call.numbers("perm"))


def _expand(call: Call) -> Array:
    x = call.x()
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, call.listed("shape", 1) or ()))


def _tile(call: Call) -> Array:
    return np.tile(call.x(), call.listed("repeats", 1) or ())


def _concat(call: Call) -> Array:
    parts = call.all()
    return np.concatenate(parts, call.axis(parts[0].ndim))


def _split(call: Call) -> tuple[Array, ...]:
    x = call.x()
    axis = call.axis(x.ndim)
    sizes = call.listed("split", 1)
    if sizes is None:
        count = call.number("num_outputs", len(call.node.outputs))
        each = -(-x.shape[axis] // count)
        sizes = (*(each,) * (count - 1), x.shape[axis] - each * (count - 1))
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def _pad(call: Call) -> Array:
    x = call.x()
    pads = call.listed("pads", 1) or ()
    fill = call.optional(2)
    axes = call.listed("axes", 3) or tuple(range(x.ndim))
    mode = call.text("mode", "constant")
    borders = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        borders[call.front(axis, x.ndim)] = (pads[i], pads[len(axes) + i])
    cut = tuple(
        slice(max(0, -before), size - max(0, -behind))
        for size, (before, behind) in zip(x.shape, borders, strict=True)
    )
    added = [(max(0, before), max(0, behind)) for before, behind in borders]
    if mode == "constant":
        value = 0 if fill is None else fill.reshape(())
        return np.pad(x[cut], added, constant_values=value)
    if mode not in ("reflect", "edge", "wrap"):
        raise call.unsupported(f"it pads by '{mode}', which the reference does not know")
    return np.pad(x[cut], added, mode)  # type: ignore[call-overload,no-any-return]


def _depth_to_space(call: Call) -> Array:
    x = call.x()
    n, channels, height, width = x.shape
    b = call.number("blocksize")
    if call.text("mode", "DCR") == "DCR":
        blocks = x.reshape(n, b, b, -1, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, -1, b, b, height, width).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, channels // b**2, height * b, width * b)


def _space_to_depth(call: Call) -> Array:
    x = call.x()
    n, channels, height, width = x.shape
    b = call.number("blocksize")
    blocks = x.reshape(n, channels, height // b, b, width // b, b)
    return blocks.transpose(0, 3, 5, 1, 2, 4).reshape(n, -1, height // b, width // b)


def _constant(call: Call) -> Array:
    for name, attribute in call.node.attributes.items():
        if name == "value":
            return _array(attribute)
        if name in ("value_int", "value_ints"):
            return np.asarray(attribute.value, np.int64)
        if name in ("value_float", "value_floats"):
            return np.asarray(attribute.value, np.float32)
    raise call.refusal("it holds no numbers")


def _constant_of_shape(call: Call) -> Array:
    attribute = call.node.attributes.get("value")
    fill = np.zeros(1, np.float32) if attribute is None else _array(attribute)
    return np.full(call.x().tolist(), fill.reshape(()), fill.dtype)


def _array(attribute: ir.Attr) -> Array:
    array: Array = attribute.as_tensor().numpy()
    return array


def _shape(call: Call) -> Array:
    sizes = call.x().shape
    end = call.node.attributes.get_int("end", len(sizes))
    return np.asarray(sizes[call.number("start") : end], np.int64)


def _size(call: Call) -> Array:
    return np.asarray(call.x().size, np.int64)


def _range(call: Call) -> Array:
    start, limit, delta = (call.integers(i).reshape(()) for i in range(3))
    numbers: Any = np.arange(int(start), int(limit), int(delta))
    return call.fit(numbers, start.dtype)


def _identity(call: Call) -> Array:
    return call.x()


KERNELS: Mapping[str, Kernel] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
