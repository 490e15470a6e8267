from __future__ import annotations

import numpy as np

from onnxq.graph.channel_cells import ChannelCells


def exchanged(cells: ChannelCells) -> list[list[list[int]]]:
    return [group.tolist() for group in cells.interchange().groups]


def test_atoms_of_one_value_may_change_places() -> None:
    cells = ChannelCells()
    cells.fresh((3,))
    assert exchanged(cells) == [[[0], [1], [2]]]


def test_atoms_of_two_values_may_not() -> None:
    cells = ChannelCells()
    cells.fresh((1,))
    cells.fresh((1,))
    assert exchanged(cells) == []


def test_linked_atoms_are_one_cell() -> None:
    cells = ChannelCells()
    cells.link(cells.fresh((2,)), cells.fresh((2,)))
    assert exchanged(cells) == [[[0, 2], [1, 3]]]


def test_a_link_that_is_turned_keeps_its_turn() -> None:
    cells = ChannelCells()
    cells.link(cells.fresh((2,)), cells.fresh((2,))[::-1])
    assert exchanged(cells) == [[[0, 3], [1, 2]]]


def test_marks_keep_atoms_apart() -> None:
    cells = ChannelCells()
    cells.mark(cells.fresh((4,)), np.array([0, 0, 1, 1]))
    assert exchanged(cells) == [[[0], [1]], [[2], [3]]]


def test_a_mark_keeps_apart_what_is_linked_too() -> None:
    cells = ChannelCells()
    first = cells.fresh((4,))
    cells.link(first, cells.fresh((4,)))
    cells.mark(first, np.array([0, 1, 1, 0]))
    assert exchanged(cells) == [[[0, 4], [3, 7]], [[1, 5], [2, 6]]]


def test_atoms_of_one_cell_that_look_alike_keep_their_places() -> None:
    """Which of one cell would stand for which of the other?"""
    cells = ChannelCells()
    atoms = cells.fresh((4,))
    cells.link(atoms, atoms[[1, 0, 3, 2]])
    assert exchanged(cells) == []


def test_cells_with_other_links_are_not_alike() -> None:
    """The atoms have the same colours, but hang together in another way."""
    cells = ChannelCells()
    one, two, three = cells.fresh((3,)), cells.fresh((3,)), cells.fresh((3,))
    cells.link(one, two)
    cells.link(two[:2], three[:2])
    cells.link(one[2:], three[2:])
    assert exchanged(cells) == [[[0, 3, 6], [1, 4, 7]]]


def test_atoms_of_one_cell_are_told_apart_by_what_they_are_linked_to() -> None:
    """A value, what comes of it, and both together in another value of one operator."""
    cells = ChannelCells()
    one, two, both = cells.fresh((2,)), cells.fresh((2,)), cells.fresh((4,))
    cells.link(one, two)
    cells.link(both, np.concatenate([one, two]))
    assert exchanged(cells) == [[[0, 2, 4, 6], [1, 3, 5, 7]]]


def test_a_pin_holds_the_whole_cell_and_tells_why() -> None:
    cells = ChannelCells()
    first, second = cells.fresh((3,)), cells.fresh((3,))
    cells.link(first, second)
    cells.pin(second[:1], "it is read")
    found = cells.interchange()
    assert [group.tolist() for group in found.groups] == [[[1, 4], [2, 5]]]
    assert found.pinned == {0: "it is read", 3: "it is read"}


def test_nothing_at_all() -> None:
    assert exchanged(ChannelCells()) == []
