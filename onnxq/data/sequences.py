"""Samples from Python objects: a sequence of feeds, or a callable that yields them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxq.data.base import DataSource, Feed
from onnxq.data.fit import as_array, fixed_batch, match_names, to_feed
from onnxq.data.user_code import user_code
from onnxq.errors import DataError

if TYPE_CHECKING:
    from onnxq.data.base import InputSpec

Sample: TypeAlias = Mapping[str, npt.ArrayLike] | npt.ArrayLike


class FeedSource(DataSource):
    """Feeds from Python: each a mapping of input name to array, or one array for one input."""

    def __init__(
        self,
        items: Sequence[Sample] | Callable[[], Iterable[Sample]],
        inputs: Sequence[InputSpec],
        where: str = "",
    ) -> None:
        """Counts the samples and checks the first one.

        Args:
            items: A sequence, or a callable that returns a fresh pass over the same samples each
                time. A callable is run through once here, to count.
            inputs: Inputs of the model.
            where: What to call the data in errors and in the report; empty for an object that has
                no name.

        Raises:
            DataError: There are no samples, the first one does not fit or is another one on the
                next pass, or the callable fails.
        """
        self._items = items
        self._inputs = inputs
        self._name = where
        self._subject = f"data {where}" if where else "the data"
        self._batch = fixed_batch(inputs)
        self._leading: int | None = None
        first = None
        if isinstance(items, Sequence):
            self._length = len(items)
        else:
            self._length, first = self._run_through()
        if not self._length:
            raise DataError(f"{self._subject} yields no samples; give at least one")
        again = next(self.feeds([0]))
        if first is not None and any(not np.array_equal(first[n], again[n]) for n in again):
            raise DataError(
                f"{self._subject} yields another sample 0 on every pass;"
                " seed or sort it, so that every pass is the same"
            )
        self._leading = _leading_sizes(again)[0]

    def _run_through(self) -> tuple[int, Feed | None]:
        """Counts the samples; of the first one a copy, as its buffer may be used again."""
        length, first = 0, None
        for item in self._pass():
            if first is None:
                first = {name: array.copy() for name, array in self._feed(0, item).items()}
            length += 1
        return length, first

    def _pass(self) -> Iterator[Sample]:
        if isinstance(self._items, Sequence):
            yield from self._items
            return
        with user_code(self._subject if self._name else "the data callable"):
            yield from self._items()

    def __len__(self) -> int:
        """Number of samples."""
        return self._length

    @property
    def samples_per_feed(self) -> int:
        """Leading size of the first input's array in the first feed."""
        return self._leading or 1

    def describe(self) -> str:
        """One line: how many samples, from where."""
        kind = "a sequence" if isinstance(self._items, Sequence) else "a callable"
        return f"{self._length} samples from {self._name or kind}"

    def feeds(self, indices: Sequence[int]) -> Iterator[Feed]:
        """Yields the samples at `indices`; see `DataSource.feeds`.

        An index that is not above its predecessor makes a callable start a new pass.
        """
        for index, item in zip(indices, self._picked(indices), strict=True):
            yield self._feed(index, item)

    def _picked(self, indices: Sequence[int]) -> Iterator[Sample]:
        if isinstance(self._items, Sequence):
            for index in indices:
                with user_code(f"{self._subject}, sample {index}"):
                    item = self._items[index]
                yield item
            return
        stream, position = self._pass(), 0
        for index in indices:
            if index < position:
                stream, position = self._pass(), 0
            rest = itertools.islice(stream, index - position, None)
            try:
                item = next(rest)
            except StopIteration:
                raise DataError(
                    f"{self._subject} ended before sample {index}, though it held {self._length}"
                    " before; make it yield the same samples on every pass"
                ) from None
            position = index + 1
            yield item

    def _feed(self, index: int, item: Sample) -> Feed:
        where = f"{self._subject.removeprefix('the ')}, sample {index}"
        if not isinstance(item, Mapping):
            if len(self._inputs) != 1:
                names = ", ".join(spec.name for spec in self._inputs)
                raise DataError(
                    f"{where} is a {type(item).__name__}, but the model has {len(self._inputs)}"
                    f" inputs; give a dict with an array for each of {names}"
                )
            item = {self._inputs[0].name: item}
        names_of = match_names(where, item, self._inputs)
        feed = {}
        for spec in self._inputs:
            label = f"{where}: array '{names_of[spec.name]}'"
            array = as_array(label, item[names_of[spec.name]])
            feed[spec.name] = to_feed(label, array, spec, self._batch)
        sizes = {*_leading_sizes(feed), self._leading} - {None}
        if self._batch > 1 and len(sizes) > 1:
            raise DataError(
                f"{where} mixes single samples with whole batches of {self._batch};"
                " give every array the same way"
            )
        return feed


def _leading_sizes(feed: Feed) -> list[int]:
    return [array.shape[0] if array.ndim else 1 for array in feed.values()]
