from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.graph.half import half_places
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir


def _node(body: str, head: str = "float[2,4] x", **weights: npt.ArrayLike) -> ir.Node:
    model = build(f"f ({head}) => (float[M,N] y) {{ {body} }}", **weights)
    return list(model.graph)[-1]


def test_float_inputs_and_outputs_may_be_half() -> None:
    node = _node("y = MatMul(x, w)", "float[2,4] x, float[4,4] w", w=np.ones((4, 4), np.float32))
    assert half_places(node, 21) == ((0, 1), (0,))


def test_integers_stay_integers() -> None:
    node = _node("y = Reshape(x, s)", "float[2,4] x, int64[2] s", s=np.array([4, 2]))
    assert half_places(node, 21) == ((0,), (0,))


def test_every_operand_of_a_variadic_operator_counts() -> None:
    node = _node("y = Concat<axis=0>(x, x, x)")
    assert half_places(node, 21) == ((0, 1, 2), (0,))


def test_scales_of_a_resize_stay_float() -> None:
    model = build(
        """f (float[1,2,4,4] x, float[4] s) => (float[1,2,8,8] y) {
            y = Resize<mode="nearest">(x, , s) }""",
        s=np.array([1, 1, 2, 2], np.float32),
    )
    assert half_places(next(iter(model.graph)), 21) == ((0,), (0,))


@pytest.mark.parametrize(
    "body",
    [
        "y = Cast<to=1>(x)",
        "y = EyeLike<dtype=1>(x)",
        "y = com.microsoft.Gelu(x)",
        "c = Size(x)\n z = CastLike(c, x)\n y = RandomUniformLike(x)",
    ],
)
def test_what_names_its_own_type_or_is_not_of_onnx_stays_float(body: str) -> None:
    assert half_places(_node(body), 21) is None
