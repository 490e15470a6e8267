"""What the user asked for, as one frozen object that is valid from its construction on.

The field names are the options' names: ``weight_granularity`` is ``--weight-granularity``. Names
that a file decides (targets, preprocessing presets, passes) are checked by whoever reads that file;
the pipeline file alone is read here, for what it holds is part of the options.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

from onnxq.budget import Budget
from onnxq.calibration_method import AUTO, CalibrationMethod
from onnxq.errors import ConfigError
from onnxq.options import FIDELITIES, METRICS, READERS, Requirement, flag
from onnxq.pipeline_file import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["METRICS", "SAMPLES", "CalibrationMethod", "Config", "Options", "Requirement"]

SAMPLES = 64
"""How many samples are taken unless the options say otherwise."""
_P_OF_FEW_BITS = 2.5
_SAMPLES_OF_FEW_BITS = 256
_EIGHT = 8
_OF_BLOCKS = ("blocks", "flexround")
_EVEN = ("nearest", "adaround")


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class Options:
    """What a command is told, as a frozen dataclass whose fields are the options."""

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Self:
        """Makes them from loose options.

        Raises:
            ConfigError: An option is unknown or its value is not allowed.
        """
        _refuse_unknown(options, [item.name for item in fields(cls)])  # type: ignore[arg-type]
        return cls(**options)


def _refuse_unknown(options: Iterable[str], known: Sequence[str]) -> None:
    """Names the option that was meant, or all there are."""
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise ConfigError(f"no option '{name}'; {hint}")


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """The options of one run.

    Every field is read and checked once, at construction: a path may be given as text, a list as
    one text, a requirement as ``"sqnr>=20"``, names of passes with commas between them.

    Attributes:
        output: Where the model goes; None = decided from the input's name.
        preprocess: How images become inputs: a preset or a TOML file.
        embed_preprocess: Whether the written model takes encoded images and does that itself.
        samples: How many samples to take from the data; 0 = all, None = :attr:`sample_count`.
        weights: Bits of a weight.
        activations: Bits of what layers multiply by their weights; see ``narrow-activations``.
        budget: What the model may cost, such as ``"size=0.16x"``; then each layer gets bits of its
            own.
        sensitivity: How to tell what the bits of a layer cost at the outputs.
        minimize: "size" or "latency" to look for the smallest or fastest model that does what
            ``require`` asks for; None = not to look.
        pareto: Where to write the front of bits and sizes as CSV.
        calibration: How activation ranges are fitted; None = "mse", and "lp:2.5" below 8 bits of
            activations. See :attr:`calibration_method`.
        rounding: How weights of fewer than 8 bits are rounded.
        weight_granularity: "channel" for one scale per output channel, "tensor" for one in all.
        target: What the model will run on.
        provider: What onnxruntime runs the models on for calibration, fidelity and latency.
        format: Form of the quantized model: "qdq", "qoperator" for operators on codes, or "integer"
            with no float in between.
        rescale: In what an integer model rescales: "int64", or "int32" where that does little harm.
        io: What the model takes and gives: "float", "integer" for codes, or "half" for float16.
        keep_float: Patterns (as in fnmatch) of node names that stay float.
        require: Bounds that the result must reach.
        task: What the outputs mean: "auto", "classification", "detection" or "generic".
        boxes: Outputs that hold boxes; empty = recognize them.
        scores: Outputs that hold scores; empty = recognize them.
        plan: A plan to replay instead of deciding.
        save_plan: Where to write the plan.
        passes: Names of the passes to run; empty = the default ones. With a + in front: of one that
            runs on request, to join the others.
        skip: Names of passes not to run.
        pipeline: The passes to run, their order and options: a TOML file, or a mapping with the
            same content; None = the default ones.
        opset: ONNX operator set of the output.
        json: Where to write the report as JSON.
        report: Where to write the report as HTML.
        seed: Of all that is drawn.
        threads: Threads to use; 0 = one per core.
        check: Whether to hold every pass to its contract.

    Raises:
        ConfigError: A value is not allowed.
    """

    output: Path | None = None
    preprocess: str | None = None
    embed_preprocess: bool = False
    samples: int | None = None
    weights: int = 8
    activations: int = 8
    budget: tuple[Budget, ...] = ()
    sensitivity: str = "auto"
    minimize: str | None = None
    pareto: Path | None = None
    calibration: str | None = None
    rounding: str = "gptq+cd"
    weight_granularity: str = "channel"
    target: str = "cpu"
    provider: str = "cpu"
    format: str = "qdq"
    rescale: str = "int64"
    io: str = "float"
    keep_float: tuple[str, ...] = ()
    require: tuple[Requirement, ...] = ()
    task: str = "auto"
    boxes: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    plan: Path | None = None
    save_plan: Path | None = None
    passes: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    pipeline: Pipeline | None = None
    opset: int = 21
    json: Path | None = None
    report: Path | None = None
    seed: int = 0
    threads: int = 0
    check: bool = False

    def __post_init__(self) -> None:
        for name, read in READERS.items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        self._refuse_shared_paths()
        self._refuse_idle_outputs()
        self._refuse_idle_budget()
        self._refuse_idle_io()
        if self.passes and self.pipeline is not None:
            raise ConfigError("--passes and --pipeline both say which passes run; give one of them")
        if self.calibration == AUTO and self.pipeline is not None and self.pipeline.plan:
            raise ConfigError(
                f"--calibration {AUTO} chooses among passes that --pipeline lists; leave its "
                "[[plan]] tables out, or give another method"
            )

    @property
    def calibration_method(self) -> CalibrationMethod:
        """:attr:`calibration`, with None resolved, taken apart.

        A search starts from the p that is best without one.
        """
        method = CalibrationMethod.parse(self.calibration_text)
        narrow = method.searches and self.activations < _EIGHT
        return method._replace(p=_P_OF_FEW_BITS) if narrow else method

    @property
    def calibration_text(self) -> str:
        """:attr:`calibration`, with None resolved.

        With 8 bits no p is better than 2, with fewer 2.5 is, and a search finds little more
        (``tools/study/calibration.md``).
        """
        if self.calibration is not None:
            return self.calibration
        return "mse" if self.activations >= _EIGHT else f"lp:{_P_OF_FEW_BITS:g}"

    @property
    def sample_count(self) -> int:
        """:attr:`samples`, with None resolved.

        Codes of few bits are chosen by second moments of what layers read, which takes more
        samples than ranges do.
        """
        if self.samples is not None:
            return self.samples
        few = min(self.weights, self.activations) < _EIGHT or self.chooses_bits
        return _SAMPLES_OF_FEW_BITS if few else SAMPLES

    @property
    def plan_target(self) -> str:
        """Name of the target that the plan is made for: the format has a say in it."""
        if self.format != "integer":
            return self.target
        return "integer-io" if self.io == "integer" else "integer"

    @property
    def chooses_bits(self) -> bool:
        """Whether it is asked for bits of their own for layers."""
        return bool(self.budget or self.minimize or self.pareto)

    @property
    def rounds_blocks(self) -> bool:
        """Whether weights are rounded by what comes out of blocks of layers, after each layer's."""
        return self.rounding in _OF_BLOCKS

    @property
    def layer_rounding(self) -> str:
        """How each layer is rounded by itself."""
        return type(self).rounding if self.rounds_blocks else self.rounding

    @property
    def codebooks(self) -> bool:
        """Whether weights of few bits may choose their integers: not where codes move evenly."""
        return not self.rounds_blocks and self.rounding not in _EVEN

    @property
    def form(self) -> str:
        """The format, with what :attr:`rescale` adds to it."""
        return "integer-int32" if self.rescale == "int32" else self.format

    @property
    def cores(self) -> int:
        """:attr:`threads`, with 0 resolved to the number of cores that this process may use."""
        return self.threads or usable_cores()

    def to_dict(self) -> dict[str, object]:
        """Returns all options in plain types that JSON can hold."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def _refuse_idle_outputs(self) -> None:
        """Outputs that the task does not look at would be named in vain."""
        named = {"boxes": self.boxes, "scores": self.scores}
        idle = {"generic": ("boxes", "scores"), "classification": ("boxes",)}
        for name in idle.get(self.task, ()):
            if named[name]:
                raise ConfigError(
                    f"{flag(name)} says nothing to --task {self.task}; leave one of them out"
                )

    def _refuse_idle_budget(self) -> None:
        """What chooses bits goes with nothing that has chosen them."""
        others = {"weights": self.weights != type(self).weights, "plan": self.plan is not None}
        if not self.chooses_bits:
            return
        own = flag("budget" if self.budget else "minimize" if self.minimize else "pareto")
        if self.format != "qdq":
            raise ConfigError(f"{own} knows what --format qdq takes; leave one of them out")
        for name, given in others.items():
            if given:
                raise ConfigError(f"{own} chooses the bits, and so does {flag(name)}; give one")
        if self.calibration == AUTO and (self.minimize or self.pareto):
            raise ConfigError(f"{own} and --calibration auto are two searches; give one of them")
        if self.minimize and not any(one.metric in FIDELITIES for one in self.require):
            raise ConfigError(
                f"--minimize {self.minimize} needs to know how close outputs have to stay; give "
                f"--require with {' or '.join(FIDELITIES)}"
            )

    def _refuse_idle_io(self) -> None:
        if self.io == "half" and "fp16" not in self.format:
            raise ConfigError("--io half needs --format fp16 or qdq+fp16; give both")
        if self.io == "integer" and self.format != "integer":
            raise ConfigError("--io integer needs --format integer; give both")
        if self.rescale == "int32" and self.format != "integer":
            raise ConfigError("--rescale int32 needs --format integer; give both")
        if self.io != "float" and self.embed_preprocess:
            raise ConfigError(f"--embed-preprocess takes images; leave --io {self.io} out")

    def _refuse_shared_paths(self) -> None:
        written: dict[str, str] = {}
        for name in ("output", "save_plan", "json", "report", "pareto"):
            path = getattr(self, name)
            if path is None:
                continue
            other = written.setdefault(os.path.realpath(path), name)
            if other != name:
                raise ConfigError(
                    f"{flag(other)} and {flag(name)} both write {path}; give two names"
                )


def _plain(value: object) -> object:
    if isinstance(value, Path | Requirement | Budget):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.to_dict() if isinstance(value, Pipeline) else value
