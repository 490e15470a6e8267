from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers

X = integers(np.random.default_rng(1), "uint8", (1, 2, 5, 7))


def resize(coordinates: str, rounding: str, given: str, more: str = "") -> str:
    inputs = "x, , scales" if "." in given else "x, , , sizes"
    return f"""f (uint8[1, 2, 5, 7] x) => (uint8[N, C, H, W] y) {{
        scales = Constant <value_floats = {given if "." in given else "[1.0]"}> ()
        sizes = Constant <value_ints = {"[1]" if "." in given else given}> ()
        y = Resize <mode = "nearest", coordinate_transformation_mode = "{coordinates}",
                    nearest_mode = "{rounding}"{more}> ({inputs})
    }}"""


@pytest.mark.parametrize(
    "coordinates", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]
)
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize(
    "given", ["[1.0, 1.0, 2.0, 2.0]", "[1.0, 1.0, 1.5, 0.6]", "[1, 2, 1, 23]", "[1, 2, 12, 3]"]
)
def test_nearest_neighbours(coordinates: str, rounding: str, given: str) -> None:
    assert_same_bits(resize(coordinates, rounding, given), x=X)


def test_axes_are_named() -> None:
    assert_same_bits(resize("asymmetric", "floor", "[2.0, 3.0]", ", axes = [-1, 2]"), x=X)


def test_interpolation_is_refused() -> None:
    text = resize("asymmetric", "floor", "[1.0, 1.0, 2.0, 2.0]").replace('"nearest"', '"linear"')

    with pytest.raises(ModelError, match="it interpolates"):
        computed(text, x=X)
