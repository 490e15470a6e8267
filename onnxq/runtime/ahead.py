"""Work that is done while its last result is still in use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ahead"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yields ``function(item)`` for every item, in order, one result ahead of the consumer.

    What a consumer does in Python and what onnxruntime does, which holds no lock, go on side by
    side then. Two results exist at a time: drop one before asking for the next.

    Args:
        function: Runs on a thread of its own, once at a time.
        items: Read one at a time, on the consumer's thread.

    Raises:
        Exception: What ``function`` raises, when its item's turn has come.
    """
    with ThreadPoolExecutor(max_workers=1) as worker:
        under_way = None
        for item in items:
            job = worker.submit(function, item)
            if under_way is not None:
                yield under_way.result()
            under_way = job
            del job
        if under_way is not None:
            yield under_way.result()
