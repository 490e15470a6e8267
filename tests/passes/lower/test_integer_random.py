"""Random quantized networks: proven, and the same bits in numpy and in onnxruntime."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.passes.lower.integer_models import assert_exact, forms
from tests.passes.rewrite.building import build
from tests.support import feeds_for

SIZE, CHANNELS = 6, 8
# What keeps [1, 8, 6, 6], with any value made so far as its second operand.
LAYERS = (
    "y = Conv<pads=[1,1,1,1]>(x, dense, bias)",
    "y = Conv(x, point)",
    "y = Conv<group=8,pads=[1,1,1,1]>(x, depth, bias)",
    "y = Conv<pads=[2,2,2,2],dilations=[2,2]>(x, dense)",
    "c = Conv(x, point) y = Relu(c)",
    "y = Add(x, v)",
    "y = Sub(x, v)",
    "y = Mul(x, v)",
    "p = GlobalAveragePool(v) y = Mul(x, p)",
    "y = Add(x, bias3)",
    "a = Add(x, v) y = Relu(a)",
    "y = LeakyRelu<alpha=0.2>(x)",
    "y = Sigmoid(x)",
    "y = HardSwish(x)",
    "y = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(x)",
    "y = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>(x)",
    "c = Concat<axis=1>(x, v) y = Conv(c, merge)",
    "y = Transpose<perm=[0,1,3,2]>(x)",
    'm = MaxPool<kernel_shape=[2,2],strides=[2,2]>(x) y = Resize<mode="nearest">(m, , scales)',
)


def weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (
        rng.normal(size=shape) * rng.uniform(0.05, 2, (shape[0],) + (1,) * (len(shape) - 1))
    ).astype(np.float32)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=6), st.integers(0, 1000), st.data())
def test_random_networks(chosen: list[str], seed: int, data: st.DataObject) -> None:
    lines, made = [], ["t0"]
    for number, line in enumerate([*chosen, "y = Conv(x, point)"], 1):
        other = data.draw(st.sampled_from(made))
        names = {"x": made[-1], "v": other, "y": f"t{number}"}
        inner = {name: f"{name}{number}" for name in ("c", "p", "a", "m")}
        words = {**names, **inner}
        lines.append(" ".join(_renamed(line, words)))
        made.append(f"t{number}")
    rng = np.random.default_rng(seed)
    shape = f"float[1,{CHANNELS},{SIZE},{SIZE}]"
    source = build(
        f"f ({shape} t0, float[8,8,3,3] dense, float[8,8,1,1] point, float[8,1,3,3] depth,"
        f" float[8,16,1,1] merge, float[8] bias, float[8,1,1] bias3, float[4] scales)"
        f" => ({shape} {made[-1]}) {{ {' '.join(lines)} }}",
        dense=weight(rng, 8, 8, 3, 3) / 6,
        point=weight(rng, 8, 8, 1, 1) / 2,
        depth=weight(rng, 8, 1, 3, 3) / 2,
        merge=weight(rng, 8, 16, 1, 1) / 3,
        bias=weight(rng, 8),
        bias3=weight(rng, 8, 1, 1),
        scales=np.array([1, 1, 2, 2], np.float32),
    )
    found = forms(source, narrow=data.draw(st.booleans()))
    assert not found.plan.float_nodes
    assert_exact(found.integer, feeds_for(source, seed=seed + 1, batch=1))


def _renamed(line: str, words: dict[str, str]) -> list[str]:
    spaced = line
    for mark in "(),=<>":
        spaced = spaced.replace(mark, f" {mark} ")
    return [words.get(word, word) for word in spaced.split()]
