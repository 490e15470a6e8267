"""Which passes run: ``--passes`` and ``--skip``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Protocol, TypeVar

from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnxq.config import Config

__all__ = ["check_names", "selected"]


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """What ``--passes`` and ``--skip`` call it."""


NamedT = TypeVar("NamedT", bound=Named)


def check_names(config: Config, known: Sequence[str], optional: Sequence[str]) -> None:
    """Makes sure that ``--passes`` and ``--skip`` name passes that can be chosen.

    Args:
        config: The options.
        known: Names of all passes there are.
        optional: Names of those that a result can do without.

    Raises:
        ConfigError: A name is unknown, or one to skip is needed.
    """
    for name in (*config.passes, *config.skip):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "see 'onnxq passes'"
            raise ConfigError(f"there is no pass '{name}'; {hint}")
    for name in config.skip:
        if name not in optional:
            raise ConfigError(
                f"--skip {name}: nothing works without it; these can be left out: "
                f"{', '.join(optional)}"
            )


def selected(passes: Iterable[NamedT], config: Config) -> list[NamedT]:
    """Returns the passes that ``config`` lets run, in their order; no ``--passes`` means all."""
    wanted = [p for p in passes if not config.passes or p.name in config.passes]
    return [p for p in wanted if p.name not in config.skip]
