"""`open_source` with callables by name: what they may yield, and one clear line otherwise."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.data import InputSpec, load_preprocess, open_source
from onnxq.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

X = InputSpec("x", np.dtype(np.float32), (None, 3, 4, 4))
Y = InputSpec("y", np.dtype(np.int64), (None,))
RAW = load_preprocess("raw")

FEEDS = """
import numpy as np

def feeds():
    for level in range(5):
        yield {"x": np.full((3, 4, 4), level, np.float32)}

def pairs():
    for feed in feeds():
        yield feed | {"y": np.array([7])}

def arrays():
    return {"x": np.zeros((5, 3, 4, 4), np.float32)}

def none():
    yield from ()

def nothing():
    pass

def text():
    return "text"

def fail():
    yield from feeds()
    raise ValueError("no\\ncamera")
"""


def refusal(where: str, preprocess: Any = None) -> str:  # noqa: ANN401
    with pytest.raises(DataError) as caught:
        open_source(where, [X], preprocess)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a file with callables in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "calib_feeds.py").write_text(FEEDS)
    return "calib_feeds.py"


def test_a_named_callable_is_taken_again_and_again(code: str) -> None:
    source = open_source(f"{code}:feeds", [X])
    assert source.describe() == "5 samples from calib_feeds.py:feeds"
    for order in ([0, 2, 4], [3, 1]):
        assert [feed["x"][0, 0, 0, 0] for feed in source.feeds(order)] == order


def test_a_named_callable_feeds_several_inputs(code: str) -> None:
    feed = next(open_source(f"{code}:pairs", [X, Y]).feeds([3]))
    assert (feed["x"].max(), feed["y"].tolist()) == (3, [7])


def test_a_named_callable_may_return_whole_arrays(code: str) -> None:
    assert len(open_source(f"{code}:arrays", [X])) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", " yields no samples; give at least one"),
        ("nothing", " returned type NoneType; return an iterable of feeds"),
        ("text", " returned type str; return an iterable of feeds"),
        ("fail", " failed at calib_feeds.py:26 with ValueError: no camera; mend it"),
    ],
)
def test_a_named_callable_without_feeds_is_refused(code: str, name: str, message: str) -> None:
    assert refusal(f"{code}:{name}") == f"data {code}:{name}{message}"


def test_preprocessing_of_a_named_callable_is_refused(code: str) -> None:
    assert refusal(f"{code}:feeds", RAW).startswith(f"data {code}:feeds holds ready inputs,")


def test_code_without_a_name_is_refused(code: str) -> None:
    assert refusal(code) == f"{code} is code; name what yields the feeds: {code}:FUNCTION"
