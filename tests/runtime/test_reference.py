from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.runtime.reference import choose_reference
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

W, V = rng_weight(6, 3, 1, 1), rng_weight(4, 6, 1, 1, seed=1)
ORDER = np.array([3, 1, 0, 5, 4, 2])


def chain(w: npt.NDArray[np.float32] = W, v: npt.NDArray[np.float32] = V) -> ir.Model:
    return build(
        """f (float[1,3,8,8] x, float[6,3,1,1] w, float[4,6,1,1] v) => (float[1,4,8,8] y) {
            a = Conv(x, w)
            b = Relu(a)
            y = Conv(b, v) }""",
        w=w,
        v=v,
    )


def reordered() -> ir.Model:
    return chain(W[ORDER], V[:, ORDER])


def test_channels_in_another_order_show_which_form_it_was() -> None:
    real, other = chain(), reordered()
    noisy = chain(W[ORDER] * np.float32(1.01), V[:, ORDER])

    assert choose_reference([real, other], noisy, feeds_for(real)) is other
    assert choose_reference([other, real], noisy, feeds_for(real)) is other


def test_the_first_form_wins_where_both_are_as_close() -> None:
    first, second = chain(), chain()

    assert choose_reference([first, second], chain(W * np.float32(1.01)), feeds_for(first)) is first


def test_one_broken_layer_does_not_turn_the_vote() -> None:
    real, other = chain(), reordered()
    broken = chain(W[ORDER], V[:, ORDER] + rng_weight(4, 6, 1, 1, seed=7))

    assert choose_reference([real, other], broken, feeds_for(real)) is other


def test_models_without_a_common_value_leave_the_first() -> None:
    first = chain()
    strange = build("f (float[1,3,8,8] x) => (float[1,3,8,8] z) { z = Relu(x) }")

    assert choose_reference([first, reordered()], strange, feeds_for(first)) is first
