from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from onnxq.runtime.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_results_come_in_order() -> None:
    assert list(ahead(lambda n: n * n, range(5))) == [0, 1, 4, 9, 16]
    assert list(ahead(str, [])) == []


def test_the_next_result_is_made_while_the_last_one_is_in_use() -> None:
    started = [threading.Event() for _ in range(4)]

    def work(number: int) -> int:
        started[number].set()
        return number

    for number in ahead(work, range(4)):
        assert number == 3 or started[number + 1].wait(timeout=10)


def test_items_are_read_at_most_one_ahead() -> None:
    done = 0

    def items() -> Iterator[int]:
        for number in range(4):
            assert number <= done + 1
            yield number

    for _ in ahead(lambda n: n, items()):
        done += 1
    assert done == 4


def test_an_error_comes_when_its_turn_has_come() -> None:
    results = ahead(lambda n: 1 // n, [2, 1, 0, 1])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
