"""What :func:`onnxq.bench` returns: latency, memory and kernels of models measured in turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.runtime.benchmark import Ratio
    from onnxq.runtime.kernel_times import OperatorTime
    from onnxq.runtime.memory import SessionMemory

__all__ = ["Bench", "ModelBench"]


@dataclass(frozen=True, kw_only=True)
class ModelBench:
    """What was measured on one model.

    Attributes:
        name: What the report calls it.
        size: Bytes of its file, external data included.
        inputs: Input name → dtype and shape that it was fed, such as ``float32[1,3,224,224]``.
        ms: Median milliseconds of one run.
        low: Lower end of its 95 % interval.
        high: Upper end.
        ratio: How many times as fast as the first model it is; None for the first.
        memory: What a session of it takes; None = not known.
        no_memory: Why the memory is not known.
        operators: Time by operator, the longest first; empty = no profile was asked for.
    """

    name: str
    size: int
    inputs: Mapping[str, str]
    ms: float
    low: float
    high: float
    ratio: Ratio | None = None
    memory: SessionMemory | None = None
    no_memory: str = ""
    operators: tuple[OperatorTime, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Models measured in turns.

    Attributes:
        models: The models, in the order in which they were given; ratios are to the first.
        rounds: How often each was timed, every time with a fresh session.
        threads: Threads inside an operator.
        provider: Execution provider.
        processor_time: Whether times are of the processor, which other processes cannot stretch;
            else they are wall time.
        data: Where the inputs came from.
        seed: Of random inputs.
        versions: Package name → version.
    """

    models: tuple[ModelBench, ...]
    rounds: int
    threads: int
    provider: str
    processor_time: bool
    data: str
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
