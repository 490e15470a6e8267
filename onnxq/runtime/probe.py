"""Inputs made from a model's signature, for measuring what does not depend on the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.errors import ConfigError, ModelError
from onnxq.runtime.probe_picture import probe_picture, takes_image_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    Shapes = Mapping[str, tuple[int, ...]]

__all__ = ["batched_inputs", "check_batch", "check_shapes", "parse_shapes", "probe_feed"]

_LARGEST = 2**31


def parse_shapes(words: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Reads ``NAME=1x3x224x224``, as ``--shape`` gives it, into input name → shape.

    Raises:
        ConfigError: A word is not of that form, or an input is named twice.
    """
    if isinstance(words, str):
        # One text is an iterable of letters, and what Python's users write for one input.
        words = [words]
    shapes: dict[str, tuple[int, ...]] = {}
    for word in words:
        name, _, text = word.rpartition("=")
        sizes = text.lower().replace("×", "x").split("x")
        if not name or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ConfigError(
                f"--shape '{word}' is not understood; give INPUT=1x3x224x224, all sizes above 0"
            )
        if name in shapes:
            raise ConfigError(f"--shape names the input '{name}' twice; leave one out")
        shapes[name] = tuple(int(size) for size in sizes)
    return shapes


def check_shapes(models: Iterable[ir.Model], shapes: Shapes) -> None:
    """Makes sure that every shape is for an input of one of the models.

    Raises:
        ConfigError: One is not.
    """
    known = dict.fromkeys(str(value.name) for model in models for value in _fed(model))
    for name in shapes:
        if name not in known:
            raise ConfigError(
                f"--shape {name}: there is no input '{name}'; choose one of {', '.join(known)}"
            )


def probe_feed(
    model: ir.Model, *, batch: int | None = None, shapes: Shapes | None = None, seed: int = 0
) -> dict[str, npt.NDArray[Any]]:
    """Makes an input for every graph input that has no default.

    Floats are uniform in [0, 1), bytes take all their values, other integers are 0 or 1, which are
    safe as indices. What DecodeImage reads is the content of a JPEG file, whatever its shape. A
    symbolic dimension is 1, unless a shape says otherwise of this input or of another one with a
    dimension of the same name.

    Args:
        model: The model.
        batch: For a first dimension that is symbolic; None = 1.
        shapes: Input name → shape.
        seed: Of the random numbers. The arrays depend on the input's place, shape and dtype alone.

    Returns:
        Input name → array.

    Raises:
        ConfigError: A shape or the batch contradicts the model.
        ModelError: An input states no type or rank, or takes text.
    """
    inputs = _fed(model)
    shapes = shapes or {}
    if batch is not None:
        check_batch(model, batch)
    named = _named_sizes(inputs, shapes)
    feed = {}
    for place, value in enumerate(inputs):
        rng = np.random.default_rng((seed, place))
        if takes_image_files(value):
            feed[str(value.name)] = probe_picture(rng)
            continue
        shape = shapes.get(str(value.name)) or _filled(value, named, batch)
        feed[str(value.name)] = _random(value, shape, rng)
    return feed


def batched_inputs(model: ir.Model) -> list[str]:
    """Returns the names of the inputs whose first dimension is open.

    Raises:
        ModelError: An input states no type or rank.
    """
    return [str(v.name) for v in _fed(model) if (d := _dims(v)) and not isinstance(d[0], int)]


def check_batch(model: ir.Model, batch: int) -> None:
    """Makes sure that the model can run with such a batch.

    Raises:
        ConfigError: The first dimension of every input is fixed, and none is ``batch``.
    """
    first = [dims[0] for value in _fed(model) if (dims := _dims(value))]
    if batch not in first and all(isinstance(dim, int) for dim in first):
        fixed = ", ".join(sorted({str(dim) for dim in first})) or "nothing"
        raise ConfigError(
            f"--batch {batch}: the model fixes the first dimension of its inputs ({fixed}); "
            "leave --batch out, or export the model with a dynamic batch"
        )


def _fed(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if value.const_value is None]


def _dims(value: ir.Value) -> list[int | str | None]:
    if value.dtype is None or value.shape is None:
        raise ModelError(f"input '{value.name}' states no type or shape; export it again")
    return [dim if isinstance(dim, int) else dim.value for dim in value.shape]


def _named_sizes(inputs: list[ir.Value], shapes: Shapes) -> dict[str, int]:
    """Returns dimension name → size, from the shapes that were given; checks them, too."""
    named: dict[str, int] = {}
    for value in inputs:
        wanted = shapes.get(str(value.name))
        if wanted is None:
            continue
        dims = _dims(value)
        fits = len(dims) == len(wanted) and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(dims, wanted, strict=False)
        )
        if not fits:
            raise ConfigError(
                f"--shape {value.name}={_text(wanted)} does not fit the model, which takes "
                f"{_text(['?' if dim is None else dim for dim in dims])}"
            )
        named |= {d: size for d, size in zip(dims, wanted, strict=True) if isinstance(d, str)}
    return named


def _filled(value: ir.Value, named: Mapping[str, int], batch: int | None) -> tuple[int, ...]:
    sizes = []
    for axis, dim in enumerate(_dims(value)):
        if isinstance(dim, int):
            sizes.append(dim)
        elif dim is not None and dim in named:
            sizes.append(named[dim])
        else:
            sizes.append(batch or 1 if axis == 0 else 1)
    return tuple(sizes)


def _random(value: ir.Value, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[Any]:
    assert value.dtype is not None
    if value.dtype == ir.DataType.STRING:
        raise ModelError(f"input '{value.name}' takes text, of which none can be made; give --data")
    if math.prod(shape) > _LARGEST:
        raise ConfigError(f"input '{value.name}' of {_text(shape)} is too large; give --shape")
    dtype = value.dtype.numpy()
    if value.dtype.is_floating_point():
        return rng.random(shape, np.float32).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.integers(0, 2, shape).astype(dtype)


def _text(shape: Iterable[object]) -> str:
    return "x".join(map(str, shape)) or "a single number"
