"""Reading a TOML file that the user wrote."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_toml"]


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the content of a file.

    Raises:
        ConfigError: It cannot be read, or is no TOML; the message names the file and the place.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"cannot read {path}: {reason}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is no valid TOML: {reason}; mend it") from error
