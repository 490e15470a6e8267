"""One streaming pass over the data: statistics of a model's values.

The model runs once per sample, without optimizations, with every asked value as an output: so a
value is what the float model says, not what a fusion left of it, and inner values cost no second
run. Arrays are reduced and dropped while the next samples run; memory does not grow with the
number of samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.errors import DataError
from onnxq.numerics.statistics import Stats
from onnxq.runtime.ahead import ahead
from onnxq.runtime.gather import Gatherer, NotFiniteError
from onnxq.runtime.session import CPU, make_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

    from onnxq.runtime.session import Feed, ModelLike, Session

__all__ = ["observe"]


def observe(  # noqa: PLR0913  (four of the six have defaults and are named at the call)
    model: ModelLike,
    feeds: Iterable[Feed],
    values: Sequence[str],
    *,
    channel_axis: Mapping[str, int | None] | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
    provider: str = CPU,
) -> Stats:
    """Runs ``model`` over ``feeds`` and returns the statistics of ``values``.

    Args:
        model: The float model; left as it is.
        feeds: One mapping of input name → array per sample; read one at a time, once, at most one
            more than ``progress`` has counted.
        values: Names of inputs and of values that the main graph's nodes produce. Others (weights,
            values inside subgraphs), and values that are not floating point, have no statistics.
        channel_axis: Value name → axis of its channels, or None for none. Where a value is not
            named: axis 1 at rank 2, 4 and more, the last at rank 3, none below.
        threads: Threads inside an operator.
        progress: Called with the number of samples done, after each.
        provider: Execution provider that runs the model.

    Returns:
        Statistics, in graph order, inputs first.

    Raises:
        DataError: A sample holds NaN or infinity, or makes a value NaN or infinite, or there is no
            sample.
        ModelError: onnxruntime refuses the model or a sample.
    """
    axes = channel_axis or {}
    session = make_session(
        model, optimize=False, threads=threads, outputs=values, spin=False, provider=provider
    )
    names = [name for name in session.inputs if name in set(values)] + list(session.outputs)
    gatherers = [Gatherer(name, axes.get(name, ...)) for name in names]
    samples = 0
    try:
        runs = ahead(lambda item: _run(session, *item), enumerate(feeds), progress=progress)
        for arrays in runs:
            for gatherer in gatherers:
                gatherer.add(arrays.pop(gatherer.name), samples)
            samples += 1
        found = {gatherer.name: gatherer.stats() for gatherer in gatherers}
    except NotFiniteError as error:
        raise DataError(
            f"value '{error.value}' becomes NaN or infinite at sample {error.sample} although the"
            f" inputs ({', '.join(session.inputs)}) are finite; remove that sample or keep this"
            " part float"
        ) from None
    if not samples:
        raise DataError("there is no sample to observe; give calibration data with --data")
    return Stats({name: stats for name, stats in found.items() if stats is not None}, samples)


def _run(session: Session, number: int, feed: Feed) -> dict[str, npt.NDArray[Any]]:
    """Returns the sample's inputs and outputs."""
    _check_finite(feed, number)
    return {**feed, **session.run(feed)}


def _check_finite(feed: Feed, sample: int) -> None:
    for name, array in feed.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(
                f"sample {sample} holds NaN or infinity in input '{name}'; repair or remove it"
            )
