from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passes.rewrite.merge_siblings import MergeSiblingsPass
from tests.passes.rewrite.building import build, rewritten, rng_weight
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir


def _graph(
    body: str, outputs: str = "float[A,B,C,D] y", shape: str = "2,4,8,8", **more: npt.ArrayLike
) -> ir.Model:
    """Weights: 1x1 u (4 to 3 channels), v (to 5), w (to 2), 3x3 k, biases b, c, and ``more``."""
    arrays: dict[str, npt.ArrayLike] = {
        "u": rng_weight(3, 4, 1, 1, seed=1),
        "v": rng_weight(5, 4, 1, 1, seed=2),
        "w": rng_weight(2, 4, 1, 1, seed=3),
        "k": rng_weight(3, 4, 3, 3, seed=4),
        "b": rng_weight(3, seed=5),
        "c": rng_weight(5, seed=6),
        "low": 0.0,
        "high": 6.0,
        **more,
    }
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    used = {name: np.asarray(array) for name, array in arrays.items() if name in words}
    types = [f"float[{','.join(map(str, a.shape))}] {name}" for name, a in used.items()]
    scalars = ", ".join(types).replace("float[] ", "float ")
    head = f"float[{shape}] x, {scalars}"
    return build(f"f ({head}) => ({outputs}) {{ {body} }}", **used)


@pytest.mark.parametrize("axis", [1, -3])
def test_two_convolutions_side_by_side_become_one(axis: int) -> None:
    body = f"p = Conv(x, u, b)\n q = Conv(x, v, c)\n y = Concat<axis={axis}>(p, q)"
    assert rewritten(MergeSiblingsPass(), _graph(body)).ops == ["Conv"]


def test_a_missing_bias_is_zero() -> None:
    body = "p = Conv(x, u)\n q = Conv(x, v, c)\n y = Concat<axis=1>(p, q)"
    assert rewritten(MergeSiblingsPass(), _graph(body)).ops == ["Conv"]


def test_no_number_changes() -> None:
    graph = _graph("p = Conv(x, u, b)\n q = Conv(x, v, c)\n y = Concat<axis=1>(p, q)")
    feeds = {"x": rng_weight(2, 4, 8, 8)}
    before = run(graph, feeds)["y"]
    rewritten(MergeSiblingsPass(), graph)
    np.testing.assert_array_max_ulp(run(graph, feeds)["y"], before, maxulp=4)


@pytest.mark.parametrize(
    ("function", "left"),
    [
        ("Relu({})", ["Conv", "Relu"]),
        ("LeakyRelu<alpha=0.1>({})", ["Conv", "LeakyRelu"]),
        ("Clip({}, low, high)", ["Conv", "Clip"]),
        ("Mul({0}, s{0})", ["Conv", "Sigmoid", "Mul"]),
        ("Mul(s{0}, {0})", ["Conv", "Sigmoid", "Mul"]),
    ],
    ids=["relu", "leaky", "clip", "silu", "silu, the gate first"],
)
def test_through_the_same_function(function: str, left: list[str]) -> None:
    gates = "sp = Sigmoid(p)\n sq = Sigmoid(q)" if "Mul" in function else ""
    body = f"""p = Conv(x, u, b)
        q = Conv(x, v)
        {gates}
        r = {function.format("p")}
        t = {function.format("q")}
        y = Concat<axis=1>(r, t)"""
    assert rewritten(MergeSiblingsPass(), _graph(body)).ops == left


def test_neighbours_in_a_longer_concat() -> None:
    body = """p = Conv(x, u)
        q = Conv(x, v)
        r = Relu(x)
        t = Conv(x, w)
        y = Concat<axis=1>(r, p, q, x, t)"""
    assert rewritten(MergeSiblingsPass(), _graph(body)).ops == ["Relu", "Conv", "Conv", "Concat"]


def test_two_runs_in_one_concat() -> None:
    body = """p = Conv(x, u)
        q = Conv(x, v)
        r = Relu(x)
        s = Conv(r, w)
        t = Conv(r, u)
        y = Concat<axis=1>(p, q, s, t)"""
    graph = _graph(body)
    assert sorted(rewritten(MergeSiblingsPass(), graph).ops) == ["Concat", "Conv", "Conv", "Relu"]


@pytest.mark.parametrize("shape", ["N,4,H,W", "N,4,8,8"])
def test_dynamic_sizes(shape: str) -> None:
    body = """p = Conv<strides=[2,2], pads=[1,1,1,1]>(x, k)
        q = Conv<strides=[2,2], pads=[1,1,1,1]>(x, m)
        y = Concat<axis=1>(p, q)"""
    graph = _graph(body, shape=shape, m=rng_weight(5, 4, 3, 3))
    feeds = {"x": rng_weight(2, 4, 8, 8)}
    assert rewritten(MergeSiblingsPass(), graph, feeds).ops == ["Conv"]


def test_a_shared_weight_keeps_its_data_for_its_other_reader() -> None:
    body = "p = Conv(x, u)\n q = Conv(x, v)\n y = Concat<axis=1>(p, q)\n z = Conv(x, u)"
    graph = _graph(body, "float[A,B,C,D] y, float[E,F,G,H] z")
    assert rewritten(MergeSiblingsPass(), graph).ops == ["Conv", "Conv"]
    assert graph.graph.initializers["u"].shape == [3, 4, 1, 1]


_DIFFER = "its convolutions of 'x' differ in geometry or in what follows, or are not side by side"


@pytest.mark.parametrize(
    "body",
    [
        "p = Conv(x, u)\n q = Conv<pads=[1,1,1,1]>(x, k)\n y = Concat<axis=1>(p, q)",
        "p = Conv(x, u)\n s = Conv(x, v)\n q = Relu(s)\n y = Concat<axis=1>(p, q)",
        """r = Conv(x, u)
           p = LeakyRelu<alpha=0.1>(r)
           s = Conv(x, v)
           q = LeakyRelu(s)
           y = Concat<axis=1>(p, q)""",
        "p = Conv(x, u)\n r = Relu(x)\n q = Conv(x, v)\n y = Concat<axis=1>(p, r, q)",
    ],
    ids=["kernel", "function", "slope", "apart"],
)
def test_rule_1_and_2_what_differs_stays(body: str) -> None:
    outcome = rewritten(MergeSiblingsPass(), _graph(body))
    assert not outcome.modified
    assert outcome.reasons == [_DIFFER]


def test_rule_2_strides_differ() -> None:
    body = "p = Conv<strides=[2,2]>(x, u)\n q = Conv(x, v)\n y = Concat<axis=1>(p, q)"
    assert not rewritten(MergeSiblingsPass(), _graph(body, shape="2,4,1,1")).modified


@pytest.mark.parametrize(
    "body",
    [
        "r = Relu(x)\n p = Conv(x, u)\n q = Conv(r, v)\n y = Concat<axis=1>(p, q)",
        "p = Conv<group=2>(x, g)\n q = Conv<group=2>(x, g)\n y = Concat<axis=1>(p, q)",
        "p = Conv(x, u)\n q = Conv(x, u)\n y = Concat<axis=2>(p, q)",
    ],
    ids=["another value", "groups", "another axis"],
)
def test_rule_2_what_is_no_sibling_stays(body: str) -> None:
    graph = _graph(body, g=rng_weight(4, 2, 1, 1))
    assert not rewritten(MergeSiblingsPass(), graph).modified


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("p = Conv(x, u)\n q = Conv(x, v)\n y = Concat<axis=1>(p, q)",
         "float[A,B,C,D] y, float[E,F,G,H] p"),
        ("p = Conv(x, u)\n q = Conv(x, v)\n y = Concat<axis=1>(p, q)\n z = Relu(q)",
         "float[A,B,C,D] y, float[E,F,G,H] z"),
        ("p = Conv(x, u)\n y = Concat<axis=1>(p, p)", "float[A,B,C,D] y"),
    ],
    ids=["graph output", "other reader", "twice"],
)  # fmt: skip
def test_rule_3_what_is_read_elsewhere_stays(body: str, outputs: str) -> None:
    assert not rewritten(MergeSiblingsPass(), _graph(body, outputs)).modified


def test_rule_3_a_value_read_between_convolution_and_function_stays() -> None:
    body = """p = Conv(x, u)
        q = Conv(x, v)
        r = Relu(p)
        s = Relu(q)
        y = Concat<axis=1>(r, s)
        z = Sigmoid(q)"""
    graph = _graph(body, "float[A,B,C,D] y, float[E,F,G,H] z")
    assert not rewritten(MergeSiblingsPass(), graph).modified
