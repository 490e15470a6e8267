from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.graph.io import to_bytes
from onnxq.graph.qdq import GraphEditor
from onnxq.graph.shared_moments import share_moments
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for, run


def norms(second: str = "", channels: int = 6, count: int = 2) -> ir.Model:
    """A chain of BatchNormalizations with moments of their own."""
    names = [f"{part}{i}" for i in range(count) for part in "gbmv"]
    given = "".join(f", float[{channels}] {name}" for name in names)
    steps = [
        f"t{i + 1} = BatchNormalization{second if i else ''}(t{i}, g{i}, b{i}, m{i}, v{i})"
        for i in range(count)
    ]
    data = {
        name: np.abs(rng_weight(channels, seed=i)) + 0.1
        if name[0] == "v"
        else rng_weight(channels, seed=i)
        for i, name in enumerate(names)
    }
    return build(
        f"""f (float[2,{channels},5,5] t0{given}) => (float[2,{channels},5,5] t{count}) {{
            {" ".join(steps)} }}""",
        **data,
    )


def shared(source: ir.Model) -> ir.Model:
    model = source.clone()
    editor = GraphEditor(model.graph)
    share_moments(editor)
    editor.drop_unused_constants()
    return model


def test_the_function_stays_and_the_file_shrinks() -> None:
    source = norms(channels=512, count=4)
    made = shared(source)
    feed = feeds_for(source, 0)
    for level in ("off", "all"):
        wanted = run(source, feed, "off")["t4"]
        np.testing.assert_allclose(run(made, feed, level)["t4"], wanted, rtol=2e-5, atol=2e-5)
    assert len(made.graph.initializers) == 2 * 4 + 2
    # 16 vectors become 10
    assert len(to_bytes(made)) < 0.66 * len(to_bytes(source))


@pytest.mark.parametrize("second", ["<epsilon = 0.5>", "<training_mode = 0, epsilon = 0.002>"])
def test_norms_with_another_epsilon_have_their_own(second: str) -> None:
    source = norms(second)
    assert to_bytes(shared(source)) == to_bytes(source)


def test_with_two_of_that_epsilon_they_share() -> None:
    source = norms("<epsilon = 0.5>", count=3)
    made = shared(source)
    first, *others = list(made.graph)
    assert first.inputs[3].name == "m0"  # type: ignore[union-attr]
    assert others[0].inputs[3] is others[1].inputs[3]
    feed = feeds_for(source, 0)
    wanted = run(source, feed, "off")["t3"]
    np.testing.assert_allclose(run(made, feed, "all")["t3"], wanted, rtol=2e-5, atol=2e-5)


def test_norms_of_unknown_moments_stay() -> None:
    source = norms()
    mean = source.graph.initializers.pop("m1")
    mean.const_value = None
    source.graph.inputs.append(mean)
    made = shared(source)
    assert [v.name for v in made.graph[1].inputs[1:] if v] == ["g1", "b1", "m1", "v1"]


def test_norms_of_other_types_and_without_a_finite_shift_stay() -> None:
    wide = build(
        """f (double[2,3,5,5] x, double[3] g, double[3] b, double[3] m, double[3] v) =>
            (double[2,3,5,5] y) {
            t = BatchNormalization(x, g, b, m, v) y = BatchNormalization(t, g, b, m, v) }""",
        **{name: np.ones(3) for name in "gbmv"},
    )
    infinite = norms()
    for name in ("m0", "m1"):
        weight = np.full(6, np.inf, np.float32)
        infinite.graph.initializers[name].const_value = ir.tensor(weight, name=name)
    for source in (wide, infinite):
        assert to_bytes(shared(source)) == to_bytes(source)
