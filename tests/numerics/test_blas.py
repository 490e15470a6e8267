"""Matrix products run on one thread as long as they are told to."""

from __future__ import annotations

import scipy.linalg  # noqa: F401 (its BLAS is one of those that are limited)
from threadpoolctl import threadpool_info, threadpool_limits

from onnxq.numerics.blas import one_blas_thread


def threads() -> list[int]:
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


def test_one_thread_inside_and_as_many_as_before_behind() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        with one_blas_thread():
            assert set(threads()) == {1}
        assert threads() == before
