"""How every report is written as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["json_text"]


def json_text(report: Mapping[str, Any]) -> str:
    """Returns ``report`` as JSON with an indent of two, ending with a line break.

    Raises:
        ValueError: It holds a number that JSON has no word for, such as NaN.
    """
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
