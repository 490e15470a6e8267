from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.rewrite.fold_dimensions import FoldDimensionsPass
from tests.passes.rewrite.building import build, rewritten

if TYPE_CHECKING:
    import numpy.typing as npt

_CONSTANTS: dict[str, npt.ArrayLike] = {
    "minus": np.array([-1]),
    "last": np.array([2**62]),
    "zeros": np.array([0]),
    "one": np.float32(1),
}
_INPUTS = "float[N,6,4] x, int64[1] minus, int64[1] last, int64[1] zeros, float one"


def test_the_scale_of_attention() -> None:
    graph = build(
        f"""f ({_INPUTS}) => (float[N,6,4] y) {{
            s = Shape(x)
            d = Slice(s, minus, last)
            c = Cast<to=1>(d)
            r = Sqrt(c)
            q = Div(one, r)
            y = Mul(x, q) }}""",
        **_CONSTANTS,
    )
    assert rewritten(FoldDimensionsPass(), graph).ops == ["Mul"]
    scale = graph.graph[0].inputs[1]
    assert scale is not None
    assert scale.const_value is not None
    assert scale.const_value.numpy().tolist() == [0.5]


def test_rule_1_the_batch_stays_computed() -> None:
    graph = build(
        f"""f ({_INPUTS}) => (float[A,B] y) {{
            s = Shape(x)
            n = Gather(s, zeros)
            t = Concat<axis=0>(n, minus)
            y = Reshape(x, t) }}""",
        **_CONSTANTS,
    )
    assert not rewritten(FoldDimensionsPass(), graph).modified


def test_rule_3_a_where_that_guards_against_minus_one() -> None:
    """PyTorch writes expand(batch, …) so: an entry of -1 would mean the tensor's own dimension."""
    graph = build(
        f"""f ({_INPUTS}, int64[1] ones, float[1,3] token) => (float[A,3] y) {{
            s = Shape(x)
            n = Gather(s, zeros)
            t = Concat<axis=0>(n, ones)
            e = Equal(t, minus)
            w = Where(e, zeros, t)
            y = Expand(token, w) }}""",
        ones=np.array([1]),
        **_CONSTANTS,
    )
    outcome = rewritten(FoldDimensionsPass(), graph)
    assert outcome.ops == ["Shape", "Gather", "Concat", "Expand"]


def test_rule_4_an_output_stays_computed() -> None:
    graph = build(
        f"""f ({_INPUTS}) => (int64[1] y) {{
            s = Shape(x)
            y = Slice(s, minus, last) }}""",
        **_CONSTANTS,
    )
    assert rewritten(FoldDimensionsPass(), graph).ops == ["Shape", "Slice"]


@pytest.mark.parametrize("op", ["Sqrt", "Reciprocal", "Neg"])
def test_rule_2_functions_of_constants(op: str) -> None:
    graph = build(
        f"f (float[3] x, float four) => (float[3] y) {{ r = {op}(four) y = Mul(x, r) }}",
        four=np.float32(4),
    )
    assert rewritten(FoldDimensionsPass(), graph).modified == (op != "Neg")


def test_large_constants_are_not_computed() -> None:
    graph = build(
        "f (float[65] x, float[65] w) => (float[65] y) { r = Sqrt(w) y = Mul(x, r) }",
        w=np.arange(65.0),
    )
    assert not rewritten(FoldDimensionsPass(), graph).modified
