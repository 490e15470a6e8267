from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxq.runtime.session import make_session
from tests.support import model

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@pytest.mark.parametrize("optimize", [False, True])
def test_arrays_go_in_and_come_out(optimize: bool) -> None:
    session = make_session(
        model(
            """f (bfloat16[2,3] x, float[3] b) => (bfloat16[2,3] y, float[2,3] z)
            { f = Cast<to = 1>(x) z = Add(f, b) y = Cast<to = 16>(z) }"""
        ),
        optimize=optimize,
    )
    x = np.arange(6).reshape(2, 3).astype(BFLOAT16)
    b = np.array([0.001, 1, 300], np.float32)
    found = session.run({"x": x, "b": b})
    exact = x.astype(np.float32) + b
    np.testing.assert_array_equal(found["z"], exact, strict=True)
    rounded = exact.astype(BFLOAT16).astype(np.float32)
    np.testing.assert_array_equal(found["y"], rounded, strict=True)


def test_no_numbers_and_one_number() -> None:
    session = make_session(
        model(
            """f (bfloat16 x, bfloat16[N] e) => (bfloat16 y, bfloat16[N] z)
            { y = Identity(x) z = Identity(e) }"""
        )
    )
    found = session.run({"x": np.array(2, BFLOAT16), "e": np.zeros(0, BFLOAT16)})
    assert found["y"].shape == ()
    assert found["y"] == 2
    assert found["z"].shape == (0,)


def test_a_part_of_an_array() -> None:
    session = make_session(model("f (bfloat16[N] x) => (bfloat16[N] y) { y = Identity(x) }"))
    x = np.arange(8).astype(BFLOAT16)[::2]
    np.testing.assert_array_equal(session.run({"x": x})["y"], [0, 2, 4, 6])
