"""Test vectors: what goes into a model, what comes of it at every node, and what comes out.

They are computed by the reference (:mod:`onnxq.reference`) and are what onnxruntime computes, bit
for bit: every value without its optimizations, the outputs with all of them too. What the reference
has no arithmetic for, such as the float tail of a detector, is left out and listed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.atomic import pending_folder
from onnxq.config import Config, Options
from onnxq.data.calibration import CalibrationData
from onnxq.errors import ModelError
from onnxq.export.io_codes import codes_of, with_float_inputs
from onnxq.export.raw import description, file_stem, raw_bytes
from onnxq.export.scales import scales
from onnxq.graph.io import fingerprint, load
from onnxq.manager import silent, teller
from onnxq.reference import evaluate
from onnxq.report.assemble import label
from onnxq.report.json_text import json_text
from onnxq.runtime.expose import produced_values
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.data import DataLike
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Progress
    from onnxq.runtime.session import Feed

    Array = npt.NDArray[Any]

__all__ = ["INDEX", "VectorOptions", "Vectors", "write_vectors"]

INDEX = "vectors.json"


@dataclass(frozen=True, kw_only=True)
class VectorOptions(Options):
    """Which samples become test vectors.

    Attributes:
        preprocess: How images become inputs: a preset or a TOML file.
        samples: Samples to take from the data; 0 = all.
        seed: Of the draw.

    Raises:
        ConfigError: A value is not allowed.
    """

    preprocess: str | None = None
    samples: int = 4
    seed: int = Config.seed

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, getattr(self.config, item.name))

    @property
    def config(self) -> Config:
        """The same, for what optimizing does as well."""
        return Config(**{item.name: getattr(self, item.name) for item in fields(self)})


@dataclass(frozen=True)
class Vectors:
    """What was written.

    Attributes:
        folder: Where.
        samples: How many samples.
        values: How many values of each.
        size: Bytes of all files but the index.
        left_out: Why nodes of the model were left out.
    """

    folder: Path
    samples: int
    values: int
    size: int
    left_out: tuple[str, ...]


def write_vectors(
    source: ModelSource,
    data: DataLike,
    folder: str | os.PathLike[str],
    options: VectorOptions,
    progress: Progress | None = None,
) -> Vectors:
    """Writes a folder of raw files, one per sample and value, and an index of them.

    Args:
        source: The model; never changed.
        data: Samples, as for :func:`onnxq.optimize`; codes for inputs that take codes, unless a
            preprocessing makes the numbers that these stand for.
        folder: To make; all of it, or nothing.
        options: Which samples.
        progress: Is told how many samples are done.

    Raises:
        ModelError: The model cannot be read or run, nothing of it can be computed exactly, an
            integer overflows, or the reference and onnxruntime differ.
        DataError: The data cannot be read or does not fit.
        OutputError: The folder is there already, or cannot be written.
    """
    model = load(source)
    # A preprocessing makes the numbers that an input of codes stands for.
    floats = options.preprocess is not None
    fed = with_float_inputs(model) if floats else model
    drawn = CalibrationData.open(data, fed, options.config)
    numbers = sorted((*drawn.calibration, *drawn.held_out))
    tell = teller(progress or silent, "test vectors", len(numbers))
    with pending_folder(folder, "test vectors") as pending:
        writer = _Writer(model, pending)
        for done, feed in enumerate(drawn.feeds(numbers), 1):
            writer.add(codes_of(model, feed) if floats else feed)
            tell(done)
        index = {"model": label(source), "fingerprint": fingerprint(model), **writer.index()}
        (pending / INDEX).write_text(json_text(index), "utf-8", newline="\n")
        size = sum(file.stat().st_size for file in pending.rglob("*.bin"))
    return Vectors(Path(folder), writer.samples, len(writer.values), size, tuple(writer.left_out))


class _Writer:
    """Computes, compares and writes one sample after the other.

    Attributes:
        samples: How many there are.
        values: Value name → what the index says of it.
        left_out: Why nodes were left out, as keys.
    """

    def __init__(self, model: ir.Model, folder: Path) -> None:
        self._model, self._folder = model, folder
        self._produced = produced_values(model)
        self._outputs = [str(value.name) for value in model.graph.outputs]
        self._scales = scales(model)
        self._plain = make_session(model, optimize=False, outputs=list(self._produced))
        self._optimized = make_session(model)
        self.samples = 0
        self.values: dict[str, dict[str, Any]] = {}
        self.left_out: dict[str, None] = {}

    def add(self, feed: Feed) -> None:
        """Writes the values of one sample."""
        folder = self._folder / f"sample_{self.samples:04d}"
        folder.mkdir()
        wanted = self._plain.run(feed)
        optimized = self._optimized.run(feed)
        for name, array in self._computed(feed):
            if name in wanted:
                _compare(name, array, wanted.pop(name), "without optimizations")
            if name in optimized:
                _compare(name, array, optimized[name], "with all optimizations")
            entry = self._entry(name, array)
            (folder / entry["file"]).write_bytes(raw_bytes(array))
        self.samples += 1

    def _computed(self, feed: Feed) -> Iterator[tuple[str, Array]]:
        yield from feed.items()
        for value, array in evaluate(self._model, feed, refused=self._refuse):
            yield str(value.name), array
        if not self.values.keys() & self._produced.keys():
            raise ModelError(f"nothing in it is exact: {next(iter(self.left_out), 'it is empty')}")

    def _refuse(self, error: ModelError) -> None:
        self.left_out[str(error)] = None

    def _entry(self, name: str, array: Array) -> dict[str, Any]:
        """Returns what the index says of a value; its shape must be that of the first sample."""
        found = description(array)
        entry = self.values.setdefault(
            name,
            {
                "name": name,
                "kind": self._kind(name),
                **found,
                "file": f"{file_stem(len(self.values), name)}.bin",
                **self._producer(name),
                **self._scales.get(name, {}),
            },
        )
        if entry["shape"] != found["shape"]:
            raise ModelError(
                f"value '{name}' has shape {entry['shape']} for one sample and {found['shape']} "
                "for another; give samples of one size"
            )
        return entry

    def _kind(self, name: str) -> str:
        if name not in self._produced:
            return "input"
        return "output" if name in self._outputs else "intermediate"

    def _producer(self, name: str) -> dict[str, str]:
        node = self._produced[name].producer() if name in self._produced else None
        return {} if node is None else {"node": str(node.name), "operator": node.op_type}

    def index(self) -> dict[str, Any]:
        """Returns the index: file F of sample I is sample_I/F."""
        return {
            "byte_order": "little",
            "samples": [f"sample_{number:04d}" for number in range(self.samples)],
            "values": list(self.values.values()),
            "left_out": list(self.left_out),
        }


def _compare(name: str, found: Array, wanted: Array, how: str) -> None:
    """Makes sure that two arrays hold the same bits."""
    if raw_bytes(found) == raw_bytes(wanted) and found.shape == wanted.shape:
        return
    where = ""
    if found.shape == wanted.shape and found.dtype == wanted.dtype:
        wrong = np.argwhere(np.atleast_1d(found != wanted))
        where = f" at {len(wrong)} of {found.size} places, first {wrong[:1].tolist()}"
    raise ModelError(
        f"value '{name}' differs{where} between the reference and onnxruntime {how}; it has no "
        "one right result"
    )
