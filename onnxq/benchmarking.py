"""Measures models against each other: the one place that knows the order of a benchmark.

Every model is fed the same way: with samples of the user's, or with random inputs that depend on
the seed and on the inputs' places and shapes alone. Times are taken in turns
(:mod:`onnxq.runtime.benchmark`); memory in a process for each model; the profile last, since
profiling costs time itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.config import Config, Options
from onnxq.data.calibration import CalibrationData
from onnxq.errors import ConfigError, DataError, ModelError, OnnxqError
from onnxq.graph.external import size_on_disk
from onnxq.graph.io import load
from onnxq.report.bench_result import Bench, ModelBench
from onnxq.report.units import array_text
from onnxq.report.versions import versions
from onnxq.runtime.benchmark import counts_processor_time, fresh_times
from onnxq.runtime.kernel_times import kernel_times, operator_times
from onnxq.runtime.memory import SessionMemory, session_memory
from onnxq.runtime.probe import batched_inputs, check_batch, check_shapes, parse_shapes, probe_feed
from onnxq.runtime.probe_picture import PICTURE, takes_image_files
from onnxq.runtime.providers import provider_called
from onnxq.runtime.session import CPU, make_session

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.data import DataLike
    from onnxq.runtime.benchmark import Times
    from onnxq.runtime.kernel_times import OperatorTime

    Feed = dict[str, npt.NDArray[Any]]

__all__ = ["BenchOptions", "bench"]

_PROFILE_RUNS = range(3, 31)
_PROFILE_MS = 500


@dataclass(frozen=True, kw_only=True)
class BenchOptions(Options):
    """How models are measured.

    Attributes:
        threads: Threads inside an operator; 0 = one per core.
        batch: Samples at a time, for models that leave the first dimension open; None = 1.
        provider: Execution provider; its ending may be left out.
        seconds: Seconds of timing for each model.
        data: Samples to feed, as for :func:`onnxq.optimize`; None = random inputs.
        preprocess: How images become inputs: a preset or a TOML file.
        shapes: ``INPUT=1x3x224x224`` for inputs with symbolic dimensions, which are 1 otherwise.
        profile: Whether to time the operators.
        seed: Of random inputs.

    Raises:
        ConfigError: A value is not allowed.
    """

    threads: int = 1
    batch: int | None = None
    provider: str = CPU
    seconds: float = 2.0
    data: DataLike | None = None
    preprocess: str | None = None
    shapes: tuple[str, ...] = ()
    profile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not (_is_number(self.seconds) and self.seconds > 0):
            raise ConfigError(f"--seconds {self.seconds} is not allowed; give a number above 0")
        if self.batch is not None and not _is_whole(self.batch, 1):
            raise ConfigError(f"--batch {self.batch} is not allowed; give 1 or more")
        if not _is_whole(self.seed, 0):
            raise ConfigError(f"--seed {self.seed} is not allowed; give 0 or more")
        if self.data is None and self.preprocess is not None:
            raise ConfigError("--preprocess is for images, of which there are none; give --data")
        if self.data is not None and self.shapes:
            raise ConfigError("--shape is for random inputs; leave it out, or leave out --data")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and value >= least


def bench(paths: Sequence[str | os.PathLike[str]], options: BenchOptions) -> Bench:
    """Measures models in turns.

    Args:
        paths: Files of one or more models; ratios are to the first.
        options: How to measure.

    Returns:
        What was measured.

    Raises:
        OnnxqError: A model, the data or an option is not usable.
    """
    if not paths:
        raise ConfigError("there is no model to measure; name one or more .onnx files")
    provider, cores = provider_called(options.provider), Config(threads=options.threads).cores
    files, names = [Path(path) for path in paths], _names(paths)
    models = [load(path) for path in paths]
    check_shapes(models, parse_shapes(options.shapes))
    entries = [
        _Entry(file, name, size_on_disk(file, model), *_feed(model, name, options))
        for file, name, model in zip(files, names, models, strict=True)
    ]
    del models
    for entry in entries:
        _try(entry, cores, provider)
    times = fresh_times(
        lambda model: make_session(files[model], threads=cores, provider=provider),
        [entry.feed for entry in entries],
        threads=cores,
        budget_s=options.seconds * len(entries),
        provider=provider,
    )
    rows = [
        _row(entry, times, i, _Machine(cores, provider), profile=options.profile)
        for i, entry in enumerate(entries)
    ]
    return Bench(
        models=tuple(rows),
        rounds=times.rounds,
        threads=cores,
        provider=provider,
        processor_time=counts_processor_time(cores, provider),
        data=entries[0].data,
        seed=options.seed,
        versions=versions(),
    )


class _Entry(NamedTuple):
    """A model that takes part: its file, what it is called, its bytes, what it is fed."""

    file: Path
    name: str
    size: int
    feed: Feed
    data: str


class _Machine(NamedTuple):
    """What the models run on."""

    threads: int
    provider: str


def _names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Returns file names, paths where file names are alike, with numbers where paths are."""
    names = [Path(path).name for path in paths]
    if len(set(names)) < len(names):
        names = [str(Path(path)) for path in paths]
    return [
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _feed(model: ir.Model, name: str, options: BenchOptions) -> tuple[Feed, str]:
    """Returns what the model is fed, and where that came from."""
    try:
        if options.data is None:
            shapes = parse_shapes(options.shapes)
            feed = probe_feed(model, batch=options.batch, shapes=shapes, seed=options.seed)
            pictures = any(takes_image_files(value) for value in model.graph.inputs)
            made = f"random inputs, {PICTURE} among them" if pictures else "random inputs"
            return feed, f"{PICTURE if pictures and len(feed) == 1 else made}, seed {options.seed}"
        return _samples(model, options.data, options)
    except OnnxqError as error:
        raise type(error)(f"{name}: {error}") from None


def _samples(model: ir.Model, data: DataLike, options: BenchOptions) -> tuple[Feed, str]:
    """Returns the first samples of the user's data, as many as the batch asks for."""
    if options.batch is not None:
        check_batch(model, options.batch)
    config = Config(preprocess=options.preprocess, samples=0, seed=options.seed)
    samples = CalibrationData.open(data, model, config)
    assert samples.source is not None, "there is data"
    joined = batched_inputs(model)
    wanted = options.batch if options.batch is not None and joined else 1
    feeds = list(samples.feeds(range(min(wanted, len(samples.source)))))
    if len(feeds) < wanted:
        raise DataError(
            f"--batch {wanted} needs as many samples, and the data has {len(feeds)}; "
            "give more data or a smaller batch"
        )
    feed = feeds[0] | {name: np.concatenate([f[name] for f in feeds]) for name in joined}
    return feed, samples.source.describe()


def _try(entry: _Entry, threads: int, provider: str) -> None:
    """Runs the model once, so that what is wrong with it is told by name."""
    try:
        session = make_session(entry.file, threads=threads, provider=provider)
    except ModelError as error:
        raise ModelError(f"{entry.name}: {error}") from None
    if session.provider != provider:
        raise ConfigError(
            f"--provider {provider}: onnxruntime could not start it and took {session.provider}; "
            "check its driver and libraries"
        )
    try:
        session.run(entry.feed)
    except ModelError as error:
        fed = ", ".join(f"{name} {array_text(array)}" for name, array in entry.feed.items())
        raise ModelError(
            f"{entry.name}: {error} (it was fed {fed}; --shape and --data give it something else)"
        ) from None


def _row(entry: _Entry, times: Times, number: int, on: _Machine, *, profile: bool) -> ModelBench:
    ms, low, high = times.milliseconds(number)
    memory = session_memory(entry.file, entry.feed, threads=on.threads, provider=on.provider)
    operators: tuple[OperatorTime, ...] = ()
    if profile:
        runs = min(max(_PROFILE_RUNS[0], int(_PROFILE_MS / ms)), _PROFILE_RUNS[-1])
        kernels = kernel_times(
            entry.file, entry.feed, runs=runs, threads=on.threads, provider=on.provider
        )
        operators = tuple(operator_times(kernels))
    return ModelBench(
        name=entry.name,
        size=entry.size,
        inputs={name: array_text(array) for name, array in entry.feed.items()},
        ms=ms,
        low=low,
        high=high,
        ratio=times.ratio(number) if number else None,
        memory=memory if isinstance(memory, SessionMemory) else None,
        no_memory=memory if isinstance(memory, str) else "",
        operators=operators,
    )
