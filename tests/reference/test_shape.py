from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import ModelError
from tests.reference.checking import assert_same_bits, computed, integers

X = integers(np.random.default_rng(1), "uint8", (2, 4, 6, 6))


@pytest.mark.parametrize(
    ("nodes", "rank"),
    [
        ("s = Constant<value_ints=[0, -1, 3]>() y = Reshape(x, s)", 3),
        ("y = Flatten<axis=2>(x)", 2),
        ("y = Flatten<axis=-1>(x)", 2),
        ("y = Flatten<axis=0>(x)", 2),
        ("y = Transpose<perm=[0, 2, 3, 1]>(x)", 4),
        ("y = Transpose(x)", 4),
        ("a = Constant<value_ints=[0, -1]>() z = Unsqueeze(x, a) y = Squeeze(z, a)", 4),
        ("a = Constant<value_ints=[1]>() z = Unsqueeze(x, a) y = Squeeze(z)", 4),
        ("s = Constant<value_ints=[3, 1, 1, 6, 1]>() y = Expand(x, s)", 5),
        ("s = Constant<value_ints=[1, 2, 1, 3]>() y = Tile(x, s)", 4),
        ("y = Concat<axis=-3>(x, x, x)", 4),
        ("y, z = Split<axis=1, num_outputs=2>(x)", 4),
        ("s = Constant<value_ints=[1, 3]>() z, y = Split<axis=1>(x, s)", 4),
        ("a, y = Split<axis=3, num_outputs=2>(x)", 4),
        ("y = DepthToSpace<blocksize=2>(x)", 4),
        ('y = DepthToSpace<blocksize=2, mode="CRD">(x)', 4),
        ("y = SpaceToDepth<blocksize=3>(x)", 4),
        ("y = Identity(x)", 4),
    ],
)
def test_what_moves_numbers(nodes: str, rank: int) -> None:
    dims = ", ".join("ABCDE"[:rank])

    assert_same_bits(f"f (uint8[2, 4, 6, 6] x) => (uint8[{dims}] y) {{ {nodes} }}", x=X)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
@pytest.mark.parametrize(
    ("pads", "more", "mode"),
    [
        ("[0, 1, 2, 0, 0, 1]", "", "constant"),
        ("[0, 1, 2, 0, 0, 1]", ", fill", "constant"),
        ("[0, -1, 2, 0, 0, -2]", "", "constant"),
        ("[1, 2]", ", fill, axes", "constant"),
        ("[0, 1, 2, 0, 0, 1]", "", "reflect"),
        ("[0, 1, 2, 0, 0, 1]", "", "edge"),
        ("[0, 1, 2, 0, 0, 1]", "", "wrap"),
    ],
)
def test_pad(pads: str, more: str, mode: str, dtype: str) -> None:
    text = f"""f ({dtype}[2, 3, 4] x) => ({dtype}[A, B, C] y) {{
        pads = Constant <value_ints = {pads}> ()
        axes = Constant <value_ints = [-1]> ()
        fill = Constant <value = {dtype} {{7}}> ()
        y = Pad <mode = "{mode}"> (x, pads{more})
    }}"""

    assert_same_bits(text, x=integers(np.random.default_rng(2), dtype, (2, 3, 4)))


def test_what_makes_numbers() -> None:
    text = """f (uint8[2, 4, 6, 6] x)
           => (int64[A] a, int64[B] b, int64 c, int32[D, E] d, int64[F] e) {
        a = Shape (x)
        b = Shape <start = 1, end = -1> (x)
        c = Size (x)
        s = Constant <value_ints = [2, 3]> ()
        d = ConstantOfShape <value = int32[1] {7}> (s)
        first = Constant <value_int = 2> ()
        last = Constant <value_int = 11> ()
        step = Constant <value_int = 4> ()
        e = Range (first, last, step)
    }"""

    assert_same_bits(text, x=X)


def test_shapes_that_do_not_fit_name_the_node() -> None:
    text = """f (uint8[6] x) => (uint8[A, B] y) {
        s = Constant <value_ints = [4, 2]> ()
        [n] y = Reshape (x, s)
    }"""

    with pytest.raises(ModelError, match=r"'n' \(Reshape\): its inputs, of shapes \[\(6,\)"):
        computed(text, x=np.zeros(6, np.uint8))
