"""Work that is done while its last result is still in use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ahead"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    progress: Callable[[int], None] | None = None,
) -> Iterator[_Result]:
    """Yields ``function(item)`` for every item, in order, one result ahead of the consumer.

    What a consumer does in Python and what onnxruntime does, which holds no lock, go on side by
    side then. Two results exist at a time: drop one before asking for the next.

    Args:
        function: Runs on a thread of its own, once at a time.
        items: Read one at a time, on the consumer's thread.
        progress: Called with the number of results that the consumer is done with.

    Raises:
        Exception: What ``function`` raises, when its item's turn has come.
    """
    with ThreadPoolExecutor(max_workers=1) as worker:
        jobs = (worker.submit(function, item) for item in items)
        under_way = next(jobs, None)
        done = 0
        while under_way is not None:
            job, under_way = under_way, next(jobs, None)
            yield job.result()
            del job
            done += 1
            if progress is not None:
                progress(done)
