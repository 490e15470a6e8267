from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.passes.rewrite.unshuffle_channels import UnshuffleChannelsPass
from tests.passes.rewrite.building import build, rewritten, rng_weight
from tests.passes.rewrite.stages import StageWriter, Style, stage
from tests.support import feeds_for, run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

_STYLES: tuple[Style, ...] = ("chunk", "slices", "pairs")
_ACTIVATIONS = ("Relu({})", "LeakyRelu<alpha=0.1>({})", "HardSwish({})", "Mul({0}, {0})")
_MOVERS = {"Reshape", "Transpose", "Gather"}


@settings(max_examples=40, deadline=None)
@given(
    half=st.sampled_from([8, 16, 29, 58]),
    units=st.integers(1, 5),
    style=st.sampled_from(_STYLES),
    activation=st.sampled_from(_ACTIVATIONS),
    deep=st.booleans(),
)
def test_a_stage_computes_the_same_without_shuffles(
    half: int, units: int, style: Style, activation: str, deep: bool
) -> None:
    writer = stage(half, units, style, activation=activation)
    end = f"v{len(writer.lines) - 1}"
    end = writer.conv(end, 2 * half, 2 * half, 2 * half, 3) if deep else end
    graph = writer.model(writer.conv(end, 2 * half, 5), 3)
    outcome = rewritten(UnshuffleChannelsPass(), graph)
    assert outcome.modified
    assert not _MOVERS & set(outcome.ops)
    assert outcome.ops.count("Concat") == units + 1
    assert "Slice" not in outcome.ops


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 99), st.integers(0, 99)), min_size=3))
def test_any_graph_computes_the_same(steps: list[tuple[int, int, int]]) -> None:
    """Whatever reads and joins what: the outputs stay, and so does the order of what is pinned."""
    writer = StageWriter(8, 2, "chunk")
    known = [(writer.conv("x", 3, 16), 16)]
    for kind, i, j in steps:
        _step(writer, known, kind, i % len(known), j)
    last, _ = known[-1]
    other, channels = known[len(known) // 2]
    end = writer.join(last, writer.conv(other, channels, 2))
    rewritten(UnshuffleChannelsPass(), writer.model(end, 3))


def _step(writer: StageWriter, known: list[tuple[str, int]], kind: int, i: int, j: int) -> None:
    """Appends one more value of 8, 16 or 24 channels, made from the values known so far."""
    x, channels = known[i]
    same = [name for name, size in known if size == channels]
    if kind in (0, 1) and channels == 16:
        known.append((writer.shuffle(x, (2, 4)[kind]), 16))
    elif kind in (2, 3) and channels == 16:
        known += [(name, 8) for name in writer.halves(x)]
    elif kind == 4:
        eights = [name for name, size in known if size == 8]
        if eights:
            known.append((writer.join(eights[i % len(eights)], eights[j % len(eights)]), 16))
    elif kind == 5:
        known.append((writer.add(f"Add({x}, {same[j % len(same)]})"), channels))
    elif kind == 6:
        known.append((writer.add(f"Softmax<axis=1>({x})"), channels))
    elif kind == 7:
        known.append(
            (writer.add(f"Relu({writer.conv(x, channels, channels, channels, 3)})"), channels)
        )
    elif kind == 8:
        scale = writer.weight(f"m{len(writer.lines)}", rng_weight(channels, 1, 1, seed=j))
        known.append((writer.add(f"Mul({x}, {scale})"), channels))
    else:
        size = (8, 16)[j % 2]
        known.append((writer.conv(x, channels, size), size))


@pytest.mark.parametrize("style", _STYLES)
def test_every_value_that_waits_is_cut_once(style: Style) -> None:
    writer = stage(24, 3, style)
    graph = writer.model(writer.conv(f"v{len(writer.lines) - 1}", 48, 4), 3)
    counts = Counter(rewritten(UnshuffleChannelsPass(), graph).ops)
    assert counts["Split"] == 4


def test_weights_are_only_moved() -> None:
    writer = stage(16, 2, "chunk")
    graph = writer.model(writer.conv(f"v{len(writer.lines) - 1}", 32, 4), 3)
    before = {name: value.const_value for name, value in graph.graph.initializers.items()}
    rewritten(UnshuffleChannelsPass(), graph)
    for name, value in graph.graph.initializers.items():
        old, new = before.get(name), value.const_value
        if old is not None and new is not None and name.startswith(("w", "b")):
            np.testing.assert_array_equal(np.sort(old.numpy(), None), np.sort(new.numpy(), None))


def test_the_last_shuffle_of_a_stage_goes_too() -> None:
    writer = stage(16, 2, "chunk")
    mixed = writer.shuffle(f"v{len(writer.lines) - 1}")
    pooled = writer.add(f"MaxPool<kernel_shape=[2,2]>({mixed})")
    graph = writer.model(writer.conv(pooled, 32, 4), 3)
    assert not _MOVERS & set(rewritten(UnshuffleChannelsPass(), graph).ops)


def test_a_stage_that_is_read_from_two_places() -> None:
    """The pyramid of a detector reads the end of a stage next to the stage behind it."""
    writer = stage(16, 2, "slices")
    mixed = writer.shuffle(f"v{len(writer.lines) - 1}")
    next_one = writer.add(f"Relu({writer.conv(mixed, 32, 7)})")
    graph = writer.model(writer.conv(writer.join(next_one, mixed), 39, 4), 3)
    assert not _MOVERS & set(rewritten(UnshuffleChannelsPass(), graph).ops)


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_a_shuffle_between_convolutions_goes_whatever_its_groups(groups: int) -> None:
    writer = StageWriter(16, 4, "chunk")
    mixed = writer.shuffle(writer.conv("x", 3, 32), groups)
    graph = writer.model(writer.conv(writer.conv(mixed, 32, 32, 32, 3), 32, 5), 3)
    assert rewritten(UnshuffleChannelsPass(), graph).ops == ["Conv", "Conv", "Conv", "Identity"]


@pytest.mark.parametrize(("batch", "sizes"), [("N", (-1, 0)), ("3", (3, 3))], ids=["any", "3"])
def test_any_batch(batch: str, sizes: tuple[int, int]) -> None:
    graph = _shuffled("y = Conv(m, u)", batch=batch, s=[sizes[0], 2, 10, 4, 4],
                      t=[sizes[1], 20, 4, 4])  # fmt: skip
    assert rewritten(UnshuffleChannelsPass(), graph).ops == ["Conv", "Conv"]


def test_a_permutation_of_none_is_left_out_in_front_of_an_output() -> None:
    graph = _shuffled("y = Reshape(b, t)", s=[1, 1, 20, 4, 4])
    assert rewritten(UnshuffleChannelsPass(), graph).ops == ["Conv", "Identity"]


def test_moments_move_along() -> None:
    graph = _shuffled(
        "l, r = Split<axis=1, num_outputs=2>(m)\n c = Conv(l, k)\n d = Conv(r, n)\n y = Add(c, d)",
        k=rng_weight(5, 10, 1, 1, seed=3),
        n=rng_weight(5, 10, 1, 1, seed=4),
    )
    moments = np.arange(20, dtype=np.float32)
    prior = {"h": (moments, moments + 20), "y": (moments[:5], moments[:5])}
    before = run(_showing(graph.clone(), "h"), feeds_for(graph))["h"]
    UnshuffleChannelsPass(prior)(graph)
    after = run(_showing(graph, "h"), feeds_for(graph))["h"]
    np.testing.assert_array_equal(after, before[:, prior["h"][0].astype(int)])
    np.testing.assert_array_equal(prior["h"][1], prior["h"][0] + 20)
    np.testing.assert_array_equal(prior["y"][0], moments[:5])
    assert prior["h"][0].tolist() != moments.tolist()


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        ("y = Softmax<axis=1>(m)", "Softmax 'node_y' needs its channels in their order"),
        ("y = Reshape(b, t)", "'y' is a graph output"),
        ("y = Conv<group=2>(m, v)", "Conv 'node_y' needs its channels in their order"),
        ("p = GlobalAveragePool(m)\n q = Flatten(p)\n y = Reshape(q, q4)",
         "Flatten 'node_q' needs its channels in their order"),
    ],
    ids=["softmax", "output", "grouped", "flatten"],
)  # fmt: skip
def test_rule_2_what_goes_by_the_place_keeps_the_shuffle(behind: str, reason: str) -> None:
    outcome = rewritten(UnshuffleChannelsPass(), _shuffled(behind))
    assert not outcome.modified
    name = "y" if behind == "y = Reshape(b, t)" else "m"
    assert outcome.reasons == [f"'{name}' would come in 20 pieces: {reason}"]


def test_rule_2_a_shared_weight_keeps_the_shuffle() -> None:
    graph = _shuffled("c = Conv(m, u)\n d = Conv(h, u)\n y = Add(c, d)")
    outcome = rewritten(UnshuffleChannelsPass(), graph)
    assert outcome.reasons == [
        "'m' would come in 20 pieces: Conv 'node_c' needs its channels in their order"
    ]


def test_rule_2_a_sum_with_the_unshuffled_value_keeps_the_shuffle() -> None:
    outcome = rewritten(UnshuffleChannelsPass(), _shuffled("a2 = Add(h, m)\n y = Conv(a2, u)"))
    assert outcome.reasons == ["'m' would come in 20 pieces: 'a2' depends on itself"]


def test_what_reads_the_middle_of_a_shuffle_keeps_it() -> None:
    graph = _shuffled("k = ReduceMean<keepdims=0>(b)\n c = Conv(m, u)\n y = Add(c, k)")
    assert not rewritten(UnshuffleChannelsPass(), graph).modified


def test_one_shuffle_goes_while_another_stays() -> None:
    graph = _shuffled(
        """c = Conv(m, u20)
           d = Reshape(c, s)
           e = Transpose<perm=[0,2,1,3,4]>(d)
           f = Reshape(e, t)
           y = Conv<group=2>(f, v)""",
        u20=rng_weight(20, 20, 1, 1, seed=5),
    )
    outcome = rewritten(UnshuffleChannelsPass(), graph)
    assert outcome.ops == ["Conv", "Conv", "Reshape", "Transpose", "Reshape", "Conv"]
    assert len(outcome.reasons) == 1


def test_a_graph_without_shuffles_stays() -> None:
    graph = build(
        """f (float[1,6,4,4] x, float[6,6,1,1] w) => (float[1,6,4,4] y) {
            a, b = Split<axis=1, num_outputs=2>(x)
            c = Concat<axis=1>(b, a)
            y = Conv(c, w) }""",
        w=rng_weight(6, 6, 1, 1),
    )
    assert not rewritten(UnshuffleChannelsPass(), graph).modified


def _shuffled(behind: str, *, batch: str = "1", **weights: npt.ArrayLike) -> ir.Model:
    """Conv, a shuffle of its 20 channels in two groups, and what stands ``behind``."""
    given: dict[str, npt.ArrayLike] = {
        "w": rng_weight(20, 3, 1, 1),
        "s": [1, 2, 10, 4, 4],
        "t": [1, 20, 4, 4],
        "u": rng_weight(5, 20, 1, 1, seed=1),
        "v": rng_weight(4, 10, 1, 1, seed=2),
        "q4": [1, 5, 2, 2],
    }
    arrays = {name: np.asarray(item) for name, item in (given | weights).items()}
    types = [
        f"{'int64' if a.dtype == np.int64 else 'float'}[{','.join(map(str, a.shape))}] {name}"
        for name, a in arrays.items()
    ]
    middle = "" if behind == "y = Reshape(b, t)" else "m = Reshape(b, t)"
    return build(
        f"""f (float[{batch},3,4,4] x, {", ".join(types)}) => (float[A,B,C,D] y) {{
            h = Conv(x, w)
            a = Reshape(h, s)
            b = Transpose<perm=[0,2,1,3,4]>(a)
            {middle}
            {behind} }}""",
        **arrays,
    )


def _showing(source: ir.Model, name: str) -> ir.Model:
    value = next(v for node in source.graph for v in node.outputs if v.name == name)
    source.graph.outputs.append(value)
    return source
