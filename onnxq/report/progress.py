"""Progress bars on a terminal: one a stage, with the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

__all__ = ["StageBars"]


class StageBars:
    """Draws a bar for every stage that it hears of, and clears them all at the end.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
        )
        self._stages: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Shows that ``done`` of ``total`` steps of ``stage`` are over."""
        bar = self._stages.get(stage)
        if bar is None:
            bar = self._stages[stage] = self._bars.add_task(stage, total=total)
        elif done < self._done[stage]:
            # A stage that begins anew must not take its time left from the earlier round.
            self._bars.reset(bar, total=total)
        self._done[stage] = done
        self._bars.update(bar, completed=done, total=total)
