from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.graph.window import Window, window_of
from tests.passes.rewrite.building import build, rng_weight
from tests.support import run


def _window(attributes: str, size: int | str = 9, kernel: int = 3) -> Window | str:
    graph = build(
        f"""f (float[1,2,{size},{size}] x, float[2,2,{kernel},{kernel}] w) => (float[A,B,C,D] y) {{
            y = Conv{attributes}(x, w) }}""",
        w=rng_weight(2, 2, kernel, kernel),
    )
    return window_of(graph.graph[0])


def test_defaults() -> None:
    assert _window("") == Window((3, 3), (1, 1), (1, 1), (0, 0), (0, 0))


def test_what_is_given() -> None:
    given_attributes = "<strides=[2,1], dilations=[1,2], pads=[0,1,2,3]>"
    assert _window(given_attributes) == Window((3, 3), (2, 1), (1, 2), (0, 1), (2, 3))


@pytest.mark.parametrize(
    ("automatic", "begin", "end"),
    [("SAME_UPPER", 0, 1), ("SAME_LOWER", 1, 0), ("VALID", 0, 0)],
)
def test_automatic_padding_of_an_even_size(automatic: str, begin: int, end: int) -> None:
    window = _window(f'<auto_pad="{automatic}", strides=[2,2]>', size=8)
    assert not isinstance(window, str)
    assert (window.begin, window.end) == ((begin, begin), (end, end))


def test_automatic_padding_without_strides_needs_no_size() -> None:
    window = _window('<auto_pad="SAME_UPPER">', size="N")
    assert not isinstance(window, str)
    assert (window.begin, window.end) == ((1, 1), (1, 1))


def test_automatic_padding_with_strides_needs_a_size() -> None:
    window = _window('<auto_pad="SAME_UPPER", strides=[2,2]>', size="N")
    assert window == "it pads automatically, and the size of its input is not static"


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(7, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    automatic=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
)
def test_slack_tells_the_number_of_outputs(
    size: int, kernel: int, stride: int, dilation: int, automatic: str
) -> None:
    dilation = dilation if automatic == "VALID" else 1  # what onnxruntime supports
    attributes = f"strides=[{stride},{stride}], dilations=[{dilation},{dilation}]"
    graph = build(
        f"""f (float[1,1,{size},{size}] x, float[1,1,{kernel},{kernel}] w) => (float[A,B,C,D] y) {{
            y = Conv<auto_pad="{automatic}", {attributes}>(x, w) }}""",
        w=rng_weight(1, 1, kernel, kernel),
    )
    window = window_of(graph.graph[0])
    assert not isinstance(window, str)
    outputs = run(graph, {"x": rng_weight(1, 1, size, size)})["y"].shape[2:]
    assert outputs == tuple((size - 1 + slack) // stride + 1 for slack in window.slack)
