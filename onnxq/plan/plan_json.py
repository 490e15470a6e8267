"""One planned value as a JSON object, and back.

float32 numbers are written with as few digits as bring the same float32 back; codes are deflated
and written in base 64.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.errors import PlanError
from onnxq.plan.quant_plan import ValuePlan
from onnxq.plan.spec import (
    Granularity,
    IntType,
    PerAxis,
    PerBlock,
    PerTensor,
    QParams,
    QuantSpec,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.plan.plan_entry import Entry

__all__ = ["float32_list", "read_value", "value_object"]

_NUMBERS = ("p", "error", "gain")
_PARAMS = ("zero_point", "method", *_NUMBERS)
_CHOSEN = ("levels", "codes")
_LEAST_LEVELS = 2
_STORAGE = ("int8", "uint8", "int16", "uint16", "int32")


def value_object(plan: ValuePlan) -> dict[str, Any]:
    """Returns what stands in a plan file for one value."""
    entry: dict[str, Any] = {
        "dtype": str(plan.spec.dtype),
        "symmetric": plan.spec.symmetric,
        "granularity": _granularity_object(plan.spec.granularity),
    }
    if (params := plan.params) is not None:
        zeros = params.zero_point
        alike = zeros.size > 0 and bool((zeros == zeros.flat[0]).all())
        entry["scale"] = float32_list(params.scale)
        entry["zero_point"] = int(zeros.flat[0]) if alike else zeros.tolist()
        entry["method"] = params.method
        for key in _NUMBERS:
            if (number := getattr(params, key)) is not None:
                entry[key] = float(number) if math.isfinite(number) else str(float(number))
    if plan.levels is not None:
        entry["levels"] = plan.levels.tolist()
    if plan.codes is not None:
        entry["codes"] = _codes_object(plan.codes)
    return entry


def read_value(entry: Entry) -> ValuePlan:
    """Returns what :func:`value_object` described; raises PlanError on anything malformed."""
    parts = entry.members(("dtype", "symmetric", "granularity"), ("scale", *_PARAMS, *_CHOSEN))
    name = parts["dtype"].text()
    try:
        dtype = IntType.parse(name)
    except PlanError as error:
        parts["dtype"].fail(str(error))
    spec = QuantSpec(dtype, parts["symmetric"].flag(), _read_granularity(parts["granularity"]))
    codes = _read_codes(parts["codes"]) if "codes" in parts else None
    levels = _read_levels(parts["levels"]) if "levels" in parts else None
    return ValuePlan(spec, _read_params(entry, parts, spec.granularity), codes, levels)


def float32_list(array: npt.NDArray[np.float32]) -> Any:  # noqa: ANN401 - number or nested lists
    """Returns a number or nested lists of the shortest decimals that give ``array`` back."""
    if array.ndim:
        return [float32_list(np.asarray(part)) for part in array]
    return _shortest(np.float32(array))


def _shortest(number: np.float32) -> float:
    short = float(str(number))
    # a decimal is read as float64 first, and rounding twice may end elsewhere
    return short if np.float32(short) == number else float(number)


def _granularity_object(granularity: Granularity) -> str | dict[str, int]:
    if isinstance(granularity, PerAxis):
        return {"axis": granularity.axis}
    if isinstance(granularity, PerBlock):
        return {"axis": granularity.axis, "block": granularity.size}
    return "tensor"


def _read_granularity(entry: Entry) -> Granularity:
    if entry.data == "tensor":
        return PerTensor()
    if not isinstance(entry.data, dict):
        entry.fail('must be "tensor", {"axis": 0} or {"axis": 0, "block": 32}')
    parts = entry.members(("axis",), ("block",))
    axis = parts["axis"].integer(least=0)
    return PerBlock(axis, parts["block"].integer(least=1)) if "block" in parts else PerAxis(axis)


def _read_params(entry: Entry, parts: dict[str, Entry], granularity: Granularity) -> QParams | None:
    if "scale" not in parts:
        for key in _PARAMS:
            if key in parts:
                entry.fail(f"has '{key}' but no 'scale'; add the scale or remove '{key}'")
        return None
    if "zero_point" not in parts:
        entry.fail("has a scale but no 'zero_point'; add it (0 for symmetric types)")
    scale, zeros = parts["scale"].floats(), parts["zero_point"].integers()
    if not (scale > 0).all():
        parts["scale"].fail(f"must be positive in float32, not {scale.min():g}")
    _check_rank(parts["scale"], scale.ndim, granularity)
    if zeros.shape not in ((), scale.shape):
        parts["zero_point"].fail(
            f"has shape {list(zeros.shape)} beside a scale of shape {list(scale.shape)}; "
            "give one number for all, or as many as there are scales"
        )
    numbers = {key: parts[key].number() for key in _NUMBERS if key in parts}
    method = parts["method"].text() if "method" in parts else ""
    return QParams(scale, np.broadcast_to(zeros, scale.shape), method, **numbers)


def _check_rank(entry: Entry, rank: int, granularity: Granularity) -> None:
    if isinstance(granularity, PerTensor):
        fits, wanted = rank == 0, "one number"
    elif isinstance(granularity, PerAxis):
        fits, wanted = rank == 1, "a list of numbers"
    else:
        fits, wanted = rank > granularity.axis, "lists nested as deep as the value's rank"
    if not fits:
        entry.fail(f"must be {wanted} for this granularity; change one of the two")


def _read_levels(entry: Entry) -> npt.NDArray[np.int32]:
    levels = entry.integers()
    if levels.ndim != 1 or levels.size < _LEAST_LEVELS or (np.diff(levels) <= 0).any():
        entry.fail("must be rising whole numbers, at least two; remove them to use all codes")
    return levels


def _codes_object(codes: npt.NDArray[np.int32]) -> dict[str, Any]:
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    fits = (np.iinfo(name).min <= low and high <= np.iinfo(name).max for name in _STORAGE)
    storage = next(name for name, fit in zip(_STORAGE, fits, strict=True) if fit)
    data = codes.astype(np.dtype(storage).newbyteorder("<")).tobytes()
    text = base64.b64encode(zlib.compress(data, 9)).decode("ascii")
    return {"shape": list(codes.shape), "dtype": storage, "data": text}


def _read_codes(entry: Entry) -> npt.NDArray[np.int32]:
    parts = entry.members(("shape", "dtype", "data"))
    if (storage := parts["dtype"].text()) not in _STORAGE:
        parts["dtype"].fail(f"must be one of {', '.join(_STORAGE)}, not '{storage}'")
    shape = [part.integer(least=0) for part in parts["shape"].elements()]
    dtype = np.dtype(storage).newbyteorder("<")
    size = math.prod(shape) * dtype.itemsize
    try:
        packed = base64.b64decode(parts["data"].text(), validate=True)
        inflate = zlib.decompressobj()
        # one byte more than wanted is enough to see that there are too many
        data = inflate.decompress(packed, size + 1)
    except (binascii.Error, ValueError, zlib.error):
        parts["data"].fail("is damaged; remove 'codes' to round the weight anew")
    if len(data) <= size and not inflate.eof:
        parts["data"].fail("is cut short; remove 'codes' to round the weight anew")
    if len(data) != size:
        parts["data"].fail(
            f"holds {'more' if len(data) > size else 'less'} than the {math.prod(shape)} codes of "
            f"shape {shape}; correct the shape, or remove 'codes' to round the weight anew"
        )
    return np.frombuffer(data, dtype).astype(np.int32).reshape(shape)
