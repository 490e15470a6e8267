"""How many threads matrix products take."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["one_blas_thread"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Lets the matrix products of numpy and scipy run on the calling thread alone.

    Their own threads wait busily for each other at the end of every product. Of many small ones
    that costs more than it gains, and on a machine with other work many times more.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield
