"""Where commands print."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console"]

_PIPED_WIDTH = 120


def console() -> Console:
    """Returns standard output; what is no terminal gets lines wide enough for a report."""
    from rich.console import Console

    fixed = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if fixed else _PIPED_WIDTH)
