"""Options of passes: values in their own type, and nothing else."""

from __future__ import annotations

import math

import pytest

from onnxq.pass_options import choice, number, switch, whole

SHARE = number("a share", lambda share: 0 <= share <= 1)
COUNT = whole("a count", lambda count: count >= 1)


@pytest.mark.parametrize(("given", "read"), [(0.5, 0.5), (1, 1.0), (0, 0.0)])
def test_a_number_becomes_a_float(given: object, read: float) -> None:
    assert SHARE.read(given) == read
    assert isinstance(SHARE.read(given), float)


@pytest.mark.parametrize("given", [1.5, -1, "0.5", True, None, math.nan, [0.5]])
def test_what_is_no_such_number_is_refused(given: object) -> None:
    assert SHARE.read(given) is None


def test_a_number_is_finite() -> None:
    assert number("any", lambda _: True).read(math.inf) is None


def test_a_whole_number_stays_one() -> None:
    assert COUNT.read(3) == 3


@pytest.mark.parametrize("given", [0, 1.0, True, "1", None])
def test_what_is_no_such_whole_number_is_refused(given: object) -> None:
    assert COUNT.read(given) is None


def test_a_choice_is_one_of_its_words() -> None:
    option = choice("mse", "minmax")
    assert option.read("mse") == "mse"
    assert option.read("kl") is None
    assert option.read(["mse"]) is None
    assert option.wanted == '"mse" or "minmax"'


def test_a_switch_is_true_or_false() -> None:
    assert switch().read(False) is False
    assert switch().read(True) is True
    assert switch().read(1) is None
