"""Fits stored arrays to a model's inputs: names, shapes, dtypes, finite values.

How the rank of an array tells what it holds, for an input of rank r:

1. rank r: the first axis counts samples; each row gets a batch axis of 1.
2. rank r + 1: the first axis counts samples; each row already is what the model takes.
3. rank r - 1: the array is one sample without a batch axis.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.data.reason import reason_of
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from onnxq.data.base import InputSpec

logger = logging.getLogger(__name__)

_IMAGE_RANK = 4


def shape_text(shape: Sequence[int | None], first: str | None = None) -> str:
    """Writes a shape for people: `?` for a symbolic dimension, `first` before the others."""
    dims = ["?" if dim is None else str(dim) for dim in shape]
    return f"[{', '.join(([] if first is None else [first]) + dims)}]"


def match_names(
    where: str, held: Collection[str], inputs: Sequence[InputSpec]
) -> Mapping[str, str]:
    """Maps every input of the model to the name of the array that feeds it.

    A model with one input accepts a single array of any name.

    Args:
        where: What to call the data in errors.
        held: Names of the arrays at hand.
        inputs: Inputs of the model.

    Returns:
        Input name → array name.

    Raises:
        DataError: An input has no array, or an array has no input.
    """
    names = [spec.name for spec in inputs]
    if len(names) == 1 and len(held) == 1:
        only = next(iter(held))
        if only != names[0]:
            logger.info("%s: array '%s' is taken for the only input '%s'", where, only, names[0])
        return {names[0]: only}
    missing = [name for name in names if name not in held]
    extra = [name for name in held if name not in names]
    wanted = f"give one array per input: {', '.join(names)}"
    if missing:
        there = ", ".join(map(str, held)) or "nothing"
        raise DataError(f"{where}: no array for input '{missing[0]}', there is {there}; {wanted}")
    if extra:
        raise DataError(f"{where}: array '{extra[0]}' is no input of the model; {wanted}")
    return {name: name for name in names}


def fixed_batch(inputs: Sequence[InputSpec]) -> int:
    """Returns the batch size above 1 that all inputs fix, else 1."""
    sizes = {spec.shape[0] for spec in inputs if spec.shape} - {None}
    size = sizes.pop() if len(sizes) == 1 else None
    return size or 1


def feed_fits(shape: Sequence[int], spec: InputSpec, batch: int) -> bool:
    """Tells whether an array of `shape` is a feed for the input.

    Args:
        shape: Shape of the array, as many axes as the input.
        spec: The input.
        batch: Fixed batch of the model; above 1, single samples fit too (they are grouped).

    Returns:
        True if every dimension is equal or symbolic, the first one possibly 1 (see `batch`).
    """
    if len(shape) != len(spec.shape):
        return False
    wanted: Sequence[int | None] = spec.shape
    if batch > 1 and shape[0] == 1:
        wanted = (1, *wanted[1:])
    return all(dim is None or dim == size for size, dim in zip(shape, wanted, strict=True))


def stacked_shape(
    where: str, shape: tuple[int, ...], spec: InputSpec, batch: int
) -> tuple[int, ...]:
    """Returns the shape of an array with its first axis counting samples.

    Args:
        where: What to call the array in errors.
        shape: Shape as stored.
        spec: The input that it feeds.
        batch: Fixed batch of the model (see `fixed_batch`).

    Returns:
        `shape`, or [1, *shape] for rule 3 of the module.

    Raises:
        DataError: The shape does not fit the input, or there are no samples.
    """
    rank = len(spec.shape)
    stacked = (1, *shape) if len(shape) == rank - 1 else shape
    row = (1, *stacked[1:]) if len(stacked) == rank else stacked[1:]
    if not feed_fits(row, spec, batch):
        raise DataError(f"{where} has shape {shape_text(shape)}; {_wanted_shape(row, spec, batch)}")
    if stacked[0] == 0:
        raise DataError(f"{where} holds no samples; give at least one")
    return stacked


def _wanted_shape(row: Sequence[int], spec: InputSpec, batch: int) -> str:
    takes_rows = batch > 1 or spec.shape[:1] in ((1,), (None,))
    dims = spec.shape[1:] if takes_rows else spec.shape
    wanted = f"input '{spec.name}' wants {shape_text(dims, 'samples')}"
    if len(row) == len(spec.shape) == _IMAGE_RANK:
        for order, layout in (((0, 3, 1, 2), "NHWC"), ((0, 2, 3, 1), "NCHW")):
            if feed_fits([row[axis] for axis in order], spec, batch):
                return f"{wanted}; the data looks like {layout}, transpose it"
    return f"{wanted}; bring the data to that shape"


def to_feed(where: str, row: npt.NDArray[Any], spec: InputSpec, batch: int) -> npt.NDArray[Any]:
    """Turns one stored sample into what the model takes at an input.

    Args:
        where: What to call the sample in errors (file, array, sample number).
        row: The sample, with or without batch axis.
        spec: The input.
        batch: Fixed batch of the model (see `fixed_batch`).

    Returns:
        Array [1, ...] of the input's dtype, finite.

    Raises:
        DataError: Shape or dtype does not fit, or a value is NaN or infinite.
    """
    feed = row[np.newaxis] if row.ndim == len(spec.shape) - 1 else row
    if not feed_fits(feed.shape, spec, batch):
        raise DataError(
            f"{where} has shape {shape_text(row.shape)}; input '{spec.name}' wants"
            f" {shape_text(spec.shape)}; bring the data to that shape"
        )
    check_dtype(where, feed.dtype, spec)
    return _cast(where, feed, spec)


def as_array(where: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Returns anything array-like as an array.

    Raises:
        DataError: numpy makes no array of it.
    """
    try:
        return np.asarray(value)
    except Exception as error:
        # Tensors of other libraries refuse with exceptions of all kinds.
        raise DataError(f"{where} is no array: {reason_of(error)}; give a numpy array") from error


def check_dtype(where: str, dtype: np.dtype[Any], spec: InputSpec) -> None:
    """Accepts dtypes that lose nothing in the input's dtype, or only precision or headroom.

    uint8 for float32 is exact; float64 for float32 and int64 for int32 are checked for
    overflow value by value; int64 for float32 or float32 for uint8 would hide a mistake.

    Args:
        where: What to call the array in errors.
        dtype: dtype of the array.
        spec: The input that it feeds.

    Raises:
        DataError: The dtype cannot stand for the input's.
    """
    wanted = np.dtype(spec.dtype)
    if np.can_cast(dtype, wanted, "safe") or _both_float(dtype, wanted):
        return
    if dtype.kind == wanted.kind and dtype.kind in "iu":
        return
    raise DataError(
        f"{where} is {dtype}; input '{spec.name}' wants {wanted}; save the data as {wanted}"
    )


def _is_float(dtype: np.dtype[Any]) -> bool:
    # ml_dtypes registers bfloat16 and the 8-bit floats as kind V, with a name instead of fields.
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def _both_float(dtype: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    return _is_float(dtype) and _is_float(wanted)


def _cast(where: str, feed: npt.NDArray[Any], spec: InputSpec) -> npt.NDArray[Any]:
    wanted = np.dtype(spec.dtype)
    if _is_float(feed.dtype) and not np.isfinite(feed).all():
        raise DataError(f"{where} holds NaN or infinity; remove or repair that sample")
    if feed.dtype == wanted and feed.flags.c_contiguous:
        return feed
    with np.errstate(over="ignore"):
        cast = feed.astype(wanted, order="C")
    overflow = not np.isfinite(cast).all() if _is_float(wanted) else not np.array_equal(cast, feed)
    if overflow:
        raise DataError(
            f"{where} holds values beyond {wanted}, which input '{spec.name}' wants; rescale them"
        )
    return cast
