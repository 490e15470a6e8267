"""Arithmetic on integers of any type without a wrapped bit: numbers are bounded before computing.

Every function computes in a type in which, by the magnitudes of its operands, nothing can
overflow: float64 (for BLAS), int64, or Python's own integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SMALL_BITS", "Array", "for_products", "is_integer", "limits", "magnitude", "widened"]

Array: TypeAlias = npt.NDArray[Any]

SMALL_BITS = {
    np.dtype(ml_dtypes.int2): 2,
    np.dtype(ml_dtypes.uint2): 2,
    np.dtype(ml_dtypes.int4): 4,
    np.dtype(ml_dtypes.uint4): 4,
}
"""Widths of the integers that are no numpy types."""

_EXACT_IN_FLOAT64 = 2**53
_EXACT_IN_INT64 = 2**63


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Says whether a type holds integers, those of 2 and 4 bits included; bool does not."""
    return np.issubdtype(dtype, np.integer) or dtype in SMALL_BITS


def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Returns the least and the greatest integer of a type."""
    if dtype not in SMALL_BITS:
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    info: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(info.min), int(info.max)


def magnitude(array: Array) -> int:
    """Returns the largest absolute value, 0 of an empty array."""
    if not array.size:
        return 0
    array = _native(array)
    return max(abs(int(array.min())), abs(int(array.max())))


def _carrier(bound: int) -> np.dtype[Any]:
    """Returns a type that holds all integers up to ``bound`` in magnitude: int64 if it does."""
    return np.dtype(np.int64 if bound < _EXACT_IN_INT64 else object)


def widened(bound: Callable[..., int], *arrays: Array) -> list[Array]:
    """Returns arrays in a type that holds them and what comes of them.

    Args:
        bound: Largest magnitude of the result, from those of the arrays.
        arrays: Integers of any types.
    """
    sizes = [magnitude(array) for array in arrays]
    dtype = _carrier(max(bound(*sizes), *sizes))
    return [_native(array).astype(dtype) for array in arrays]


def for_products(a: Array, b: Array, terms: int) -> tuple[Array, Array]:
    """Returns two arrays of integers in a type in which sums of their products are exact.

    A sum of products stays below terms · |a|max · |b|max, and so does every part of it, in
    whatever order it is added. Below 2^53 each of these is an integer that float64 holds, so that
    no addition and no multiplication rounds, fused or not: BLAS is exact, however it adds.

    Args:
        a: Integers of any type.
        b: As ``a``.
        terms: Largest number of products in a sum.

    Returns:
        Both as float64, int64 or object.
    """
    bound = max(terms, 1) * max(magnitude(a), 1) * max(magnitude(b), 1)
    exact = np.dtype(np.float64) if bound < _EXACT_IN_FLOAT64 else _carrier(bound)
    return _native(a).astype(exact), _native(b).astype(exact)


def _native(array: Array) -> Array:
    """Returns integers of 2 and 4 bits in a type that numpy computes in; others as they are."""
    return array.astype(np.int8) if array.dtype in SMALL_BITS else array
