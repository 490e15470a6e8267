"""Which trials tell what single passes change, and what they tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnxq.registry import known_passes, optional_passes
from tools.study.effects import Effect
from tools.study.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnxq.registry import PassRow
    from tools.study.trials import Measured

__all__ = ["SETTINGS", "Run", "effects_of", "switchable", "trials_of"]

SETTINGS: Mapping[str, Mapping[str, int | str]] = {
    "w8a8": {},
    "w8a8-tensor": {"weight_granularity": "tensor"},
    "w4a8": {"weights": 4},
}


class Run(NamedTuple):
    """What passes are switched in.

    Attributes:
        case: Name of the case.
        setting: One of :data:`SETTINGS`.
        seed: Of the subset of calibration samples.
        samples: How many there are in it.
    """

    case: str
    setting: str
    seed: int
    samples: int

    def trial(self, **options: str) -> Trial:
        """Returns the trial with these options beside the setting's; none = nothing switched."""
        return Trial.of(self.case, {**SETTINGS[self.setting], **options}, self.seed, self.samples)


def switchable(names: Sequence[str] = ()) -> list[PassRow]:
    """Returns the passes that can be switched, in the order in which they run.

    Raises:
        SystemExit: A name is none of them.
    """
    optional = optional_passes()
    rows = {row.name: row for row in known_passes() if row.name in optional}
    for name in names:
        if name not in rows:
            raise SystemExit(f"no pass '{name}' can be switched; there are {', '.join(rows)}")
    return [row for row in rows.values() if not names or row.name in names]


def trials_of(run: Run, plain: Measured, passes: Sequence[PassRow]) -> list[Trial]:
    """Returns the trials that switch a pass.

    A pass that changed nothing is not left out: without it the result is the same.

    Args:
        run: What it is switched in.
        plain: What came of it with nothing switched.
        passes: Those to switch.
    """
    found = (_switch(row, plain) for row in passes)
    return [run.trial(**options) for options in found if options]


def effects_of(
    run: Run, passes: Sequence[PassRow], rows: Mapping[Trial, Measured]
) -> Iterator[Effect]:
    """Yields what each pass changes in one run, as far as it is measured."""
    plain = rows.get(run.trial())
    if plain is None:
        return
    for row in passes:
        other = rows.get(run.trial(**_switch(row, plain)))
        if other is not None:
            off, on = (other, plain) if row.name in plain.fired else (plain, other)
            fires = row.name in on.fired
            yield Effect(run.case, run.setting, run.seed, row.name, fires, off, on)


def _switch(row: PassRow, plain: Measured) -> dict[str, str]:
    if row.name in plain.fired:
        return {"skip": row.name}
    return {"passes": f"+{row.name}"} if row.on_request else {}
