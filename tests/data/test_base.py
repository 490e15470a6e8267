"""What every source of samples shares."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.data.base import readable
from onnxq.errors import DataError

FEED = {"x": np.zeros(1)}


def test_what_cannot_be_read_is_left_out() -> None:
    assert list(readable([None, FEED, None, FEED], "none")) == [FEED, FEED]


def test_asking_for_nothing_is_no_error() -> None:
    assert list(readable([], "none")) == []


def test_nothing_readable_is_an_error_at_the_end() -> None:
    with pytest.raises(DataError, match="all broken"):
        list(readable([None, None], "all broken"))
