"""A benchmark on a terminal, and what its ratios allow to be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onnxq.report.units import bytes_text, percent_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from onnxq.report.bench_result import Bench, ModelBench
    from onnxq.runtime.benchmark import Ratio

__all__ = ["bench_text", "verdict"]

_NEAR = 0.05
_OPERATORS_SHOWN = 15


def verdict(ratio: Ratio) -> str:
    """Says in words how the speed compares, and does not call a difference what may be noise."""
    if not ratio.clear:
        return (
            "no difference that this noise lets one see "
            f"({_factor(ratio.low)}–{_factor(ratio.high)})"
        )
    if ratio.low > 1:
        value, low, high, word = ratio.value, ratio.low, ratio.high, "faster"
    else:
        value, low, high, word = 1 / ratio.value, 1 / ratio.high, 1 / ratio.low, "slower"
    return f"{_factor(value)}× {word} ({_factor(low)}–{_factor(high)})"


def bench_text(bench: Bench) -> RenderableType:
    """Returns a table of all models, what each ratio means, how it was measured, and profiles."""
    parts: list[RenderableType] = [_models(bench)]
    if len(bench.models) > 1:
        parts += [Text(), *(_compared(bench.models[0], other) for other in bench.models[1:])]
    for model in bench.models:
        if model.operators:
            parts += [Text(), Text(f"{model.name}: time by operator", "bold"), _operators(model)]
    return Group(*parts, Text(), *(Text(line) for line in _how(bench)))


def _models(bench: Bench) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", overflow="fold")
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    head = ("", "latency", "95 % interval", "session memory", "file")
    table.add_row(*(Text(word, "dim") for word in head))
    for model in bench.models:
        memory = "–" if model.memory is None else bytes_text(model.memory.session)
        table.add_row(
            Text(model.name),
            Text(f"{model.ms:.3g} ms"),
            Text(f"{model.low:.3g}–{model.high:.3g}"),
            Text(memory),
            Text(bytes_text(model.size)),
        )
    return table


def _compared(first: ModelBench, other: ModelBench) -> Text:
    assert other.ratio is not None, "only the first model has no ratio"
    words = verdict(other.ratio)
    if not other.ratio.clear:
        return Text.assemble((other.name, "bold"), f" and {first.name}: ", (words, "yellow"))
    faster = other.ratio.low > 1
    value, interval = words.split(" (")
    said = Text.assemble(
        (other.name, "bold"),
        " is ",
        (value, "green" if faster else "bold red"),
        f" ({interval} than {first.name}",
    )
    if (other.ms > first.ms) == faster:
        # Rounds of another speed of the machine can turn the medians, but no ratio.
        more = "longer" if faster else "shorter"
        said.append(f" in the same rounds, although its median over all rounds is {more}", "yellow")
    return said


def _operators(model: ModelBench) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(word, "dim") for word in ("  operator", "kernels", "time", "share")))
    shown, rest = model.operators[:_OPERATORS_SHOWN], model.operators[_OPERATORS_SHOWN:]
    rows = [(row.op, row.kernels, row.milliseconds, row.share) for row in shown]
    if rest:
        sums = (sum(r.kernels for r in rest), sum(r.milliseconds for r in rest))
        rows.append((f"… {len(rest)} more", *sums, sum(r.share for r in rest)))
    for op, kernels, milliseconds, share in rows:
        table.add_row(
            Text(f"  {op}"),
            Text(str(kernels)),
            Text(f"{milliseconds:.3g} ms"),
            Text(percent_text(share)),
        )
    return table


def _how(bench: Bench) -> list[str]:
    clock = "processor time" if bench.processor_time else "wall time"
    threads = "1 thread" if bench.threads == 1 else f"{bench.threads} threads"
    rounds = f"{bench.rounds} rounds in turns with fresh sessions"
    runtime = f"onnxruntime {bench.versions.get('onnxruntime', '?')}"
    lines = [
        f"{rounds}, {clock}, {threads}, {bench.provider}, {runtime}",
        f"fed with {bench.data}: {_fed(bench.models)}",
    ]
    if len(bench.models) > 1:
        lines.append(
            "speed: median of the ratios within each round, which the machine's own ups and "
            "downs do not touch; so it is not quite the ratio of the latencies"
        )
    if any(model.operators for model in bench.models):
        lines.append("time by operator: wall time with the profiler on, which costs time itself")
    reasons = dict.fromkeys(m.no_memory for m in bench.models if m.memory is None)
    lines += [f"memory is not known: {reason}" for reason in reasons]
    if any(model.memory for model in bench.models):
        lines.append(
            "session memory: most bytes above the bare process, loading and one run; each model "
            "in a process of its own"
        )
    return lines


def _fed(models: Sequence[ModelBench]) -> str:
    """What the models were fed; by model where that differs, as between sizes of one network."""
    if all(model.inputs == models[0].inputs for model in models):
        return _inputs(models[0])
    return "; ".join(f"{model.name}: {_inputs(model)}" for model in models)


def _inputs(model: ModelBench) -> str:
    return ", ".join(f"{name} {form}" for name, form in model.inputs.items()) or "no inputs"


def _factor(number: float) -> str:
    """Writes a ratio with as many digits as keep it apart from 1."""
    digits = 3 if abs(number - 1) < _NEAR else 2
    return f"{number:.{digits}f}" if number < 10 else f"{number:.1f}"
