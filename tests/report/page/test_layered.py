"""Where the drawing of a graph puts nodes and lines."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.report.page.layered import layered

WIDE = 100.0


@st.composite
def graphs(draw: st.DrawFn) -> list[set[int]]:
    count = draw(st.integers(1, 24))
    return [
        draw(st.sets(st.integers(0, node - 1), max_size=3)) if node else set()
        for node in range(count)
    ]


@given(graphs())
def test_lines_run_down_and_nothing_overlaps(inputs: list[set[int]]) -> None:
    drawn = layered(inputs, [WIDE] * len(inputs))

    rows: dict[int, list[tuple[float, float]]] = {}
    for level, x in zip(drawn.layers, drawn.across, strict=True):
        rows.setdefault(level, []).append((x, WIDE))
    for (source, node), route in drawn.routes.items():
        assert drawn.layers[node] - drawn.layers[source] == len(route) + 1
        for step, x in enumerate(route, 1):
            rows.setdefault(drawn.layers[source] + step, []).append((x, 14.0))
    assert set(drawn.routes) == {(s, n) for n, sources in enumerate(inputs) for s in sources}
    for row in rows.values():
        for (x0, w0), (x1, w1) in itertools.pairwise(sorted(row)):
            assert x1 - x0 >= (w0 + w1) / 2 - 1e-6
        assert min(x - w / 2 for x, w in row) >= -1e-6
        assert max(x + w / 2 for x, w in row) <= drawn.width + 1e-6


def test_a_chain_is_straight() -> None:
    drawn = layered([[], [0], [1], [2]], [80, 120, 60, 100])

    assert drawn.layers == [0, 1, 2, 3]
    assert drawn.across == pytest.approx([60.0] * 4)


def test_a_second_input_stands_right_above_its_reader() -> None:
    drawn = layered([[], [0], [1], [], [2, 3]], [WIDE] * 5)

    assert drawn.layers == [0, 1, 2, 2, 3]


def test_parallel_branches_do_not_cross() -> None:
    # 1 and 2 read 0; 3 reads 2 and 4 reads 1: without ordering, the lines would cross.
    drawn = layered([[], [0], [0], [2], [1]], [WIDE] * 5)

    first, second = drawn.across[1:3], [drawn.across[4], drawn.across[3]]
    assert (first[0] < first[1]) == (second[0] < second[1])


def test_nothing_is_drawn_of_nothing() -> None:
    assert layered([], []).width == 0
