"""Which channels of a graph can change places with each other, told by what must move together.

An *atom* is one channel of one value: all numbers that share that place. Atoms that an operator
puts together one by one (the summands of Add, what goes into Relu and what comes out) move
together; these are a *cell*. Two cells can change places if the graph looks the same from both: for
every value that holds an atom of one, in the same role, it holds one of the other. What an atom's
role is stands in its colour: the values that hold it, how often, the marks that operators leave on
it (the group of a grouped convolution, the attention head), and the colours of what it is linked
to. So cells are interchangeable if

1. the colours of a cell's atoms all differ, and are the same in both cells: this tells which atom
   of one stands for which of the other,
2. the links between these atoms, by operator and colours, are the same in both cells,
3. nothing pins either.

Colours come from colour refinement (Weisfeiler and Leman 1968); that all of a cell's differ makes
it exact.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    import numpy.typing as npt

    Indices = npt.NDArray[np.int64]

__all__ = ["ChannelCells", "Interchange"]


class Interchange(NamedTuple):
    """What may change places.

    Attributes:
        groups: Sets of two and more cells that may change places in any way, int64 [cells, atoms
            of each]: a row for each cell, in the graph's order; atoms in one column stand for each
            other.
        pinned: Atom that keeps its place → why.
    """

    groups: list[Indices]
    pinned: dict[int, str]


class ChannelCells:
    """Collects atoms, links, marks and pins; atoms are numbers, in the graph's order."""

    def __init__(self) -> None:
        self._count = 0
        self._links: list[Indices] = []
        self._marks: list[Indices] = []
        self._pins: list[tuple[Indices, str]] = []

    @property
    def count(self) -> int:
        """The number of atoms."""
        return self._count

    def fresh(self, shape: tuple[int, ...]) -> Indices:
        """Returns new atoms, int64, of this shape."""
        size = int(np.prod(shape, dtype=np.int64))
        start, self._count = self._count, self._count + size
        atoms = np.arange(start, self._count).reshape(shape)
        self.mark(atoms, 0)
        return atoms

    def link(self, *parts: Indices) -> None:
        """Lets the atoms at the same place of all ``parts``, broadcast, move together."""
        rows = np.stack([part.reshape(-1) for part in np.broadcast_arrays(*parts)], axis=1)
        self._links.append(np.unique(rows, axis=0))

    def mark(self, atoms: Indices, marks: Indices | int) -> None:
        """Lets atoms change places only with those that are marked alike at this call."""
        both = np.broadcast_arrays(atoms, np.asarray(marks, np.int64))
        event = np.full(both[0].size, len(self._marks))
        self._marks.append(np.stack([both[0].reshape(-1), event, both[1].reshape(-1)], axis=1))

    def pin(self, atoms: Indices, reason: str) -> None:
        """Keeps these atoms, and what moves with them, at their places."""
        self._pins.append((atoms.reshape(-1), reason))

    def interchange(self) -> Interchange:
        """Returns what may change places with each other, and what pins the rest."""
        if not self._count:
            return Interchange([], {})
        cells, colours = self._cells(), self._colours()
        order = np.lexsort([np.arange(self._count), colours, cells])
        starts = np.searchsorted(cells[order], np.arange(int(cells.max()) + 2))
        links = self._links_of(cells, colours)
        pinned: dict[int, str] = {}
        for atoms, reason in self._pins:
            for cell in np.unique(cells[atoms]).tolist():
                pinned.setdefault(cell, reason)
        alike: dict[tuple[bytes, ...], list[Indices]] = {}
        for cell, (start, end) in enumerate(pairwise(starts)):
            atoms = order[start:end]
            roles = colours[atoms]
            if cell not in pinned and (np.diff(roles) > 0).all():
                key = (roles.tobytes(), *sorted(links.get(cell, ())))
                alike.setdefault(key, []).append(atoms)
        found = [sorted(rows, key=np.min) for rows in alike.values() if len(rows) > 1]
        reasons = {atom: pinned[cell] for atom, cell in enumerate(cells.tolist()) if cell in pinned}
        return Interchange([np.stack(rows) for rows in found], reasons)

    def _cells(self) -> Indices:
        """Returns the number of each atom's cell."""
        ends = [(rows[:, :1].repeat(rows.shape[1] - 1, 1), rows[:, 1:]) for rows in self._links]
        none = np.zeros(0, np.int64)
        first = np.concatenate([none, *(a.reshape(-1) for a, _ in ends)])
        second = np.concatenate([none, *(b.reshape(-1) for _, b in ends)])
        size = (self._count, self._count)
        edges = coo_array((np.ones(first.size), (first, second)), shape=size)
        return np.asarray(connected_components(edges, directed=False)[1], np.int64)

    def _colours(self) -> Indices:
        """Returns the number of each atom's colour: its marks, and the colours it is linked to."""
        colours = self._numbered(self._marks)
        while True:
            events = [np.stack([np.arange(self._count), 0 * colours, colours], axis=1)]
            for rows in self._links:
                _, kinds = np.unique(colours[rows], axis=0, return_inverse=True)
                for column in rows.T:
                    event = np.full(len(rows), len(events))
                    events.append(np.stack([column, event, kinds.reshape(-1)], axis=1))
            finer = self._numbered(events)
            if finer.max() == colours.max():
                return colours
            colours = finer

    def _numbered(self, events: list[Indices]) -> Indices:
        """Returns the number of each atom's set of (event, mark).

        Args:
            events: Of atom, event and mark each, int64 [n, 3].
        """
        table = np.unique(np.concatenate([np.zeros((0, 3), np.int64), *events]), axis=0)
        starts = np.searchsorted(table[:, 0], np.arange(self._count + 1))
        known: dict[bytes, int] = {}
        sets = (table[a:b, 1:].tobytes() for a, b in pairwise(starts))
        return np.array([known.setdefault(marks, len(known)) for marks in sets], np.int64)

    def _links_of(self, cells: Indices, colours: Indices) -> dict[int, list[bytes]]:
        """Returns cell → its links, each as operator and colours."""
        found: dict[int, list[bytes]] = {}
        for number, rows in enumerate(self._links):
            head = np.full((len(rows), 1), number)
            texts = np.concatenate([head, colours[rows]], axis=1)
            for cell, text in zip(cells[rows[:, 0]].tolist(), texts, strict=True):
                found.setdefault(cell, []).append(text.tobytes())
        return found
