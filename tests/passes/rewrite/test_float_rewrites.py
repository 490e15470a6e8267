from __future__ import annotations

import numpy as np
import pytest

from onnxq.manager import PassManager
from onnxq.passes.rewrite import float_rewrites
from onnxq.runtime.session import run_model
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import assert_same_function, feeds_for


def test_names_are_unique() -> None:
    names = [rewrite.name for rewrite in float_rewrites()]
    assert len(set(names)) == len(names)


def test_a_block_as_exporters_write_it() -> None:
    """Pad, Conv, the two halves of a Caffe normalization, decomposed HardSwish, pooling, linear."""
    norm = {name: rng_weight(4, seed=seed) for seed, name in enumerate("gbm")}
    source = build(
        """f (float[N,3,8,8] x, float i, int64[8] p, float w, float[4] g, float[4] b, float[4] m,
            float[4] v, float s, float t, float three, float zero, float six, int64[2] axes,
            float u, float[5] c) => (float[N,5] y) {
            n = Mul(x, i)
            q = Pad(n, p)
            h = Conv(q, w)
            e = BatchNormalization(h, g, b, m, v)
            f1 = Mul(e, s)
            f2 = Add(f1, t)
            a = Add(f2, three)
            r = Clip(a, zero, six)
            d = Div(r, six)
            k = Mul(f2, d)
            o = ReduceMean<keepdims=0>(k, axes)
            l = MatMul(o, u)
            y = Add(l, c) }""",
        **norm,
        v=np.abs(rng_weight(4, seed=3)) + np.float32(0.1),
        i=1 / 255,
        p=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        w=rng_weight(4, 3, 3, 3),
        s=rng_weight(1, 4, 1, 1),
        t=rng_weight(4, 1, 1),
        three=3.0,
        zero=0.0,
        six=6.0,
        axes=np.array([2, 3]),
        u=rng_weight(4, 5),
        c=rng_weight(5),
    )
    before = source.clone()
    manager = PassManager(check=True, run_model=run_model, probes=[feeds_for(source)])
    after = manager.rewrite(source, float_rewrites({}), to_fixpoint=True)
    assert ops(after) == ["Conv", "HardSwish", "GlobalAveragePool", "Flatten", "Gemm"]
    assert not manager.trace.rolled_back
    assert_same_function(before, after)


def test_a_block_of_repvgg_as_it_is_trained() -> None:
    """Two convolutions and the value itself, each normalized, become one convolution."""
    norms = [f"g{i} e{i} m{i} v{i}".split() for i in range(3)]
    weights = {
        name: np.abs(array) + np.float32(0.5) if name[0] in "gv" else array
        for seed, name in enumerate(name for norm in norms for name in norm)
        for array in [rng_weight(6, seed=seed)]
    }
    heads = ", ".join(f"float[6] {name}" for name in weights)
    n0, n1, n2 = (", ".join(norm) for norm in norms)
    source = build(
        f"""f (float[N,6,8,8] x, float[6,6,3,3] k, float[6,6,1,1] o, {heads})
            => (float[N,6,8,8] y) {{
            a = Conv<pads=[1,1,1,1]>(x, k)
            b = BatchNormalization(a, {n0})
            c = Conv(x, o)
            d = BatchNormalization(c, {n1})
            i = BatchNormalization(x, {n2})
            s = Add(b, d)
            t = Add(s, i)
            y = Relu(t) }}""",
        k=rng_weight(6, 6, 3, 3),
        o=rng_weight(6, 6, 1, 1, seed=1),
        **weights,
    )
    manager = PassManager(check=True, run_model=run_model, probes=[feeds_for(source)])
    after = manager.rewrite(source, float_rewrites({}), to_fixpoint=True)
    assert ops(after) == ["Conv", "Relu"]
    assert not manager.trace.rolled_back


@pytest.mark.parametrize(
    ("integer", "left"),
    [(True, ["SpaceToDepth", "Conv"]), (False, ["Conv"])],
    ids=["int8", "float"],
)
def test_what_convolutions_are_to_run_on_decides_the_form(
    *, integer: bool, left: list[str]
) -> None:
    source = build(
        """f (float[1,3,8,8] x, int64[6] r, int64[4] t, float[4,12,3,3] w) => (float[1,4,2,2] y) {
            a = Reshape(x, r)
            b = Transpose<perm=[0,1,3,5,2,4]>(a)
            c = Reshape(b, t)
            y = Conv(c, w) }""",
        r=np.array([1, 3, 4, 2, 4, 2]),
        t=np.array([1, 12, 4, 4]),
        w=rng_weight(4, 12, 3, 3),
    )
    before = source.clone()
    after = PassManager().rewrite(source, float_rewrites(integer=integer), to_fixpoint=True)
    assert ops(after) == left
    assert_same_function(before, after)
