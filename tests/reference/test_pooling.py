from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.checking import assert_same_bits, integers


@settings(max_examples=50, deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "int8", "float"]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.sampled_from(["", "pads", 'auto_pad = "SAME_UPPER"', 'auto_pad = "SAME_LOWER"']),
    ceil=st.booleans(),
    seed=st.integers(0, 99),
)
def test_max_pool(
    dtype: str,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    padding: str,
    ceil: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    if padding.startswith("auto"):
        # Automatic padding would be negative, which onnxruntime refuses.
        strides = min(strides[0], kernel[0]), min(strides[1], kernel[1])
    words = [f"kernel_shape = {list(kernel)}", f"strides = {list(strides)}"]
    if not padding.startswith("auto"):
        words += [f"dilations = {list(dilations)}", f"ceil_mode = {int(ceil)}"]
    if padding == "pads":
        low = [int(rng.integers(0, size)) for size in (*kernel, *kernel)]
        words.append(f"pads = {low}")
    elif padding:
        words.append(padding)
    text = f"""f ({dtype}[2, 3, 7, 8] x) => ({dtype}[N, C, H, W] y) {{
        y = MaxPool <{", ".join(words)}> (x)
    }}"""
    shape = (2, 3, 7, 8)
    x = rng.standard_normal(shape, np.float32) if dtype == "float" else integers(rng, dtype, shape)

    assert_same_bits(text, x=x)
