from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.graph.feature_tags import compact, moved_tags
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir


def tags_of(
    text: str, out: str, weights: dict[str, npt.NDArray[np.int64]]
) -> list[list[int]] | None:
    """Returns what the only node of a graph makes of tags 1 to 6, by output, flat."""
    declared = "".join(
        f", int64[{','.join(map(str, np.shape(w)))}] {name}" for name, w in weights.items()
    )
    text = f"f (float[N,T,6] x{declared}) => (float[{out}] y) {{ {text} }}"
    node = list(build(text, **weights).graph)[-1]
    found = moved_tags(node, np.arange(1, 7).reshape(1, 1, 6))
    return None if found is None else [part.reshape(-1).tolist() for part in found]


def node_of(text: str) -> ir.Node:
    return next(iter(build(text).graph))


ALL = [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "out", "weights", "wanted"),
    [
        ("y = Reshape(x, s)", "N,T,2,3", {"s": np.array([0, 0, 2, 3])}, [ALL]),
        ("y = Reshape(x, s)", "M,6", {"s": np.array([-1, 6])}, [ALL]),
        ("y = Reshape(x, s)", "N,M,3", {"s": np.array([0, -1, 3])}, None),
        ("y = Transpose<perm=[0,2,1]>(x)", "N,6,T", {}, [ALL]),
        ("y, z = Split<axis=2, num_outputs=2>(x)", "N,T,3", {}, [ALL[:3], ALL[3:]]),
        ("y, z = Split<axis=1>(x, s)", "N,1,6", {"s": np.array([1, 1])}, [ALL, ALL]),
        ("y = Unsqueeze(x, s)", "N,1,T,6", {"s": np.array([1])}, [ALL]),
        ("y = Squeeze(x, s)", "N,6", {"s": np.array([1])}, [ALL]),
        ("y = Squeeze(x, s)", "N,T", {"s": np.array([2])}, None),
        ("y = Squeeze(x)", "N,6", {}, None),
        ("y = Gather<axis=1>(x, s)", "N,6", {"s": np.array(0)}, [ALL]),
        ("y = Gather<axis=-1>(x, s)", "N,T,2", {"s": np.array([5, 0])}, [[6, 1]]),
        ("y = Slice(x, s, e, a)", "N,M,6", {n: np.array([1]) for n in "sea"}, [ALL]),
        ("y = Slice(x, s, e, a)", "N,T,M", {n: np.array([2]) for n in "sea"}, None),
        ("y = ReduceMean<keepdims=0>(x, s)", "N,6", {"s": np.array([1])}, [ALL]),
        ("y = ReduceMean(x, s)", "N,T,1", {"s": np.array([-1])}, None),
        ("y = Softmax(x)", "N,T,6", {}, None),
    ],
)
def test_tags_follow_the_features(
    text: str, out: str, weights: dict[str, npt.NDArray[np.int64]], wanted: list[list[int]] | None
) -> None:
    assert tags_of(text, out, weights) == wanted


def test_heads_are_cut_and_joined_with_unknown_lengths() -> None:
    cut = node_of("f (float[N,T,6] x, int64[4] s) => (float[N,T,2,3] y) { y = Reshape(x, s) }")
    found = moved_tags(cut, np.arange(6).reshape(1, 1, 6))
    assert found is not None
    assert found[0].tolist() == [[[[0, 1, 2], [3, 4, 5]]]]
    joined = node_of("f (float[N,T,2,3] x, int64[3] s) => (float[N,T,6] y) { y = Reshape(x, s) }")
    back = moved_tags(joined, found[0])
    assert back is not None
    assert back[0].tolist() == [[[0, 1, 2, 3, 4, 5]]]


def test_a_reshape_that_mixes_features_with_an_unknown_length_is_not_followed() -> None:
    node = node_of("f (float[N,6,T] x, int64[2] s) => (float[N,M] y) { y = Reshape(x, s) }")
    assert moved_tags(node, np.arange(6).reshape(1, 6, 1)) is None


def test_equal_tags_along_an_axis_are_kept_once() -> None:
    repeated = np.broadcast_to(np.arange(3).reshape(1, 1, 3), (2, 4, 3))
    assert compact(np.array(repeated)).tolist() == [[[0, 1, 2]]]
