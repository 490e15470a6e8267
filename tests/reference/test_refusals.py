"""What the reference does not compute: a clear reason, with the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxq import reference
from onnxq.errors import ModelError
from tests.support import feeds_for, model

UNSUPPORTED = {
    "where maxima are": (
        "f (uint8[1, 1, 4, 4] x) => (uint8[N, C, H, W] y, int64[N, C, H, W] i)",
        "[n] y, i = MaxPool <kernel_shape = [2, 2]> (x)",
        "returns where its maxima are",
    ),
    "adding while scattering": (
        "f (int32[4] x, int64[1, 1] i, int32[1] u) => (int32[4] y)",
        '[n] y = ScatterND <reduction = "add"> (x, i, u)',
        "adds or compares what it scatters",
    ),
    "a strange border": (
        "f (uint8[4] x, int64[2] p) => (uint8[N] y)",
        '[n] y = Pad <mode = "mirror"> (x, p)',
        "pads by 'mirror'",
    ),
    "symmetric half pixels": (
        "f (uint8[4] x, float[1] s) => (uint8[N] y)",
        """[n] y = Resize <mode = "nearest",
            coordinate_transformation_mode = "half_pixel_symmetric"> (x, , s)""",
        "places or rounds coordinates",
    ),
    "a shape without its ratio": (
        "f (uint8[4] x, int64[1] s) => (uint8[N] y)",
        '[n] y = Resize <mode = "nearest", keep_aspect_ratio_policy = "not_larger"> (x, , , s)',
        "keeps the aspect ratio",
    ),
    "codes that are floats": (
        "f (float[2] x, float s, float8e4m3fn z) => (float8e4m3fn[2] y)",
        "[n] y = QuantizeLinear (x, s, z)",
        "quantizes to float8_e4m3fn",
    ),
    "a scale in half precision": (
        "f (uint8[2] x, float16 s) => (float16[2] y)",
        "[n] y = DequantizeLinear (x, s)",
        "scale is float16",
    ),
    "casts to bfloat16": (
        "f (int32[2] x) => (bfloat16[2] y)",
        "[n] y = Cast <to = 16> (x)",
        "casts to bfloat16",
    ),
    "sums of floats": (
        "f (float[2] x) => (float[1] y)",
        "[n] y = ReduceSum (x)",
        "what floats add up to depends on the order",
    ),
}
WRONG = {
    "two types": (
        "f (int32[2] x, int64[2] z) => (int32[2] y)",
        "[n] y = Add (x, z)",
        "int32 and int64; they must be of one type",
    ),
    "an axis too far": (
        "f (uint8[2] x) => (uint8[N] y)",
        "[n] y = Concat <axis = 1> (x, x)",
        "no axis 1 among 1",
    ),
    "no kernel": (
        "f (uint8[1, 1, 2, 2] x) => (uint8[N, C, H, W] y)",
        "[n] y = MaxPool (x)",
        "has no kernel_shape",
    ),
    "no bounds": ("f (uint8[2] x) => (uint8[N] y)", "[n] y = Slice (x)", "no starts or ends"),
    "a constant of nothing": (
        "f (uint8[2] x) => (uint8[N] y)",
        "[n] c = Constant () y = Add (x, c)",
        "holds no numbers",
    ),
}


def refusal(case: tuple[str, str, str]) -> ModelError:
    header, nodes, _ = case
    graph = model(f"{header} {{ {nodes} }}")
    feeds: dict[str, Any] = feeds_for(graph)
    with pytest.raises(ModelError) as caught:
        reference.run(graph, feeds)
    return caught.value


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_the_reference_has_no_arithmetic_for(name: str) -> None:
    error = refusal(UNSUPPORTED[name])

    assert isinstance(error, reference.UnsupportedError)
    assert str(error).startswith("node 'n' (")
    assert UNSUPPORTED[name][2] in str(error)


@pytest.mark.parametrize("name", WRONG)
def test_what_no_runtime_takes(name: str) -> None:
    error = refusal(WRONG[name])

    assert not isinstance(error, reference.UnsupportedError)
    assert str(error).startswith("node 'n' (")
    assert WRONG[name][2] in str(error)


def test_nothing_has_no_size() -> None:
    graph = model("f (int32[N] x) => (int32[N] y) { y = Add (x, x) }")

    assert reference.run(graph, {"x": np.zeros(0, np.int32)})["y"].shape == (0,)
