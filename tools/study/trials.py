"""One quantization of one case, measured on labelled data, and a file that remembers them all."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import onnxq
from onnxq.errors import OnnxqError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tools.study.case import Case

__all__ = ["Measured", "Store", "Trial", "measure"]


@dataclass(frozen=True)
class Trial:
    """What to quantize, and how.

    Attributes:
        case: Name of the case.
        options: Options of ``onnxq.optimize``, sorted: (name, value) each.
        seed: Of the subset of calibration samples.
        samples: How many there are in it.
    """

    case: str
    options: tuple[tuple[str, int | str], ...]
    seed: int
    samples: int

    @classmethod
    def of(cls, case: str, options: Mapping[str, int | str], seed: int, samples: int) -> Trial:
        """Returns the trial with these options."""
        return cls(case, tuple(sorted(options.items())), seed, samples)


@dataclass(frozen=True)
class Measured:
    """What came of a trial.

    Attributes:
        metric: Percent; NaN if the run failed.
        drop: Points lost against float.
        fidelity: Agreement with float on the labelled samples, in percent.
        sqnr: Of the worst output on samples that were not calibrated on, in dB.
        size: Bytes over those of the float model.
        integer: Share of multiply-accumulates in integer kernels.
        fired: Names of the passes that changed something.
        error: Why there is no result; empty if there is.
        digest: SHA-256 of the model's bytes.
        seconds: Processor time that it took.
    """

    metric: float = math.nan
    drop: float = math.nan
    fidelity: float = math.nan
    sqnr: float = math.nan
    size: float = math.nan
    integer: float = math.nan
    fired: tuple[str, ...] = ()
    error: str = ""
    digest: str = ""
    seconds: float = 0.0


def measure(trial: Trial, case: Case, plain: Measured | None = None) -> Measured:
    """Runs ``onnxq.optimize`` and measures what it wrote; its refusal is a result too.

    Args:
        trial: What to run; on one thread.
        case: Its case.
        plain: What came of another trial of it. The same model is not measured twice.
    """
    start = time.process_time()
    data = case.calibration(trial.seed, trial.samples)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options: dict[str, Any] = {**dict(trial.options), "output": path, "threads": 1}
        try:
            # Where other trials run, the clock tells nothing; it is a third of the time.
            with mock.patch("onnxq.pipeline.latency", return_value=None):
                result = onnxq.optimize(case.model, data, **options)
        except OnnxqError as error:
            return Measured(error=str(error), seconds=time.process_time() - start)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = plain if plain is not None and plain.digest == digest else None
        measured = known or _labelled(case, path)
    return replace(
        measured,
        sqnr=min(result.fidelity.sqnr.values(), default=math.nan),
        size=result.size_after / result.size_before,
        integer=result.integer_share,
        fired=tuple(sorted({row.name for row in result.trace if row.modified})),
        digest=digest,
        seconds=time.process_time() - start,
    )


def _labelled(case: Case, path: Path) -> Measured:
    found = case.find(path)
    drop = case.base.metric - found.metric
    return Measured(metric=found.metric, drop=drop, fidelity=case.fidelity(found))


class Store:
    """Trials that were measured, one JSON line each: a study that was stopped goes on from there.

    Args:
        path: The file; it belongs to one state of the code.

    Attributes:
        rows: What is measured.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[Trial, Measured] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                trial, measured = _read(json.loads(line))
                self.rows[trial] = measured

    def put(self, trial: Trial, measured: Measured) -> None:
        """Remembers what came of a trial."""
        self.rows[trial] = measured
        with self._path.open("a") as file:
            file.write(json.dumps({"trial": asdict(trial), "measured": asdict(measured)}) + "\n")


def _read(line: dict[str, dict[str, Any]]) -> tuple[Trial, Measured]:
    trial, found = line["trial"], line["measured"]
    trial["options"] = tuple((name, value) for name, value in trial["options"])
    found["fired"] = tuple(found["fired"])
    return Trial(**trial), Measured(**found)
