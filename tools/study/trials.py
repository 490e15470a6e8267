"""One quantization of one case, measured on labelled data, and a file that remembers them all."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        speedup: Float over quantized latency.
        fired: Names of the passes that changed something.
        error: Why there is no result; empty if there is.
    """

    metric: float = math.nan
    drop: float = math.nan
    fidelity: float = math.nan
    sqnr: float = math.nan
    size: float = math.nan
    integer: float = math.nan
    speedup: float = math.nan
    fired: tuple[str, ...] = ()
    error: str = ""


def measure(trial: Trial, case: Case, threads: int = 0) -> Measured:
    """Runs ``onnxq.optimize`` and measures what it wrote; its refusal is a result too."""
    data = case.calibration(trial.seed, trial.samples)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options: dict[str, Any] = {**dict(trial.options), "output": path, "threads": threads}
        try:
            result = onnxq.optimize(case.model, data, **options)
        except OnnxqError as error:
            return Measured(error=str(error))
        found = case.find(path)
    return Measured(
        metric=found.metric,
        drop=case.base.metric - found.metric,
        fidelity=case.fidelity(found),
        sqnr=min(result.fidelity.sqnr.values(), default=math.nan),
        size=result.size_after / result.size_before,
        integer=result.integer_share,
        speedup=math.nan if result.latency is None else result.latency.speedup,
        fired=tuple(sorted({row.name for row in result.trace if row.modified})),
    )


class Store:
    """Trials that were measured, one JSON line each: a study that was stopped goes on from there.

    Args:
        path: The file; it belongs to one state of the code.
        closed: Whether nothing is measured any more.
    """

    def __init__(self, path: Path, *, closed: bool = False) -> None:
        self._path = path
        self._closed = closed
        self.rows: dict[Trial, Measured] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                trial, measured = _read(json.loads(line))
                self.rows[trial] = measured

    def get(self, trial: Trial, case: Case, threads: int = 0) -> Measured | None:
        """Returns what came of ``trial``; measures it if need be, None if the store is closed."""
        if trial not in self.rows and not self._closed:
            measured = measure(trial, case, threads)
            self.rows[trial] = measured
            with self._path.open("a") as file:
                file.write(json.dumps({"trial": asdict(trial), "measured": asdict(measured)}))
                file.write("\n")
        return self.rows.get(trial)


def _read(line: dict[str, dict[str, Any]]) -> tuple[Trial, Measured]:
    trial, found = line["trial"], line["measured"]
    trial["options"] = tuple((name, value) for name, value in trial["options"])
    found["fired"] = tuple(found["fired"])
    return Trial(**trial), Measured(**found)
