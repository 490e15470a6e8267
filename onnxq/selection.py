"""Which passes run: ``--passes`` and ``--skip``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Protocol, TypeVar

from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnxq.config import Config

__all__ = ["selected"]


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """What ``--passes`` and ``--skip`` call it."""


NamedT = TypeVar("NamedT", bound=Named)


def selected(passes: Iterable[NamedT], config: Config, known: Sequence[str]) -> list[NamedT]:
    """Returns the passes that ``config`` lets run, in their order.

    Args:
        passes: Those that could run.
        config: Its ``passes`` (empty = all) and ``skip``.
        known: Names of all passes there are.

    Raises:
        ConfigError: A name is unknown.
    """
    for name in (*config.passes, *config.skip):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "see 'onnxq passes'"
            raise ConfigError(f"there is no pass '{name}'; {hint}")
    wanted = [p for p in passes if not config.passes or p.name in config.passes]
    return [p for p in wanted if p.name not in config.skip]
