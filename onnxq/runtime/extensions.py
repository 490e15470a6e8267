"""Whether onnxruntime-extensions is there, whose operators decode image files."""

from __future__ import annotations

from onnxq.errors import ConfigError

__all__ = ["require_extensions"]


def require_extensions(what: str) -> None:
    """Makes sure that operators of onnxruntime-extensions can be run.

    Args:
        what: What needs them, as the user typed it.

    Raises:
        ConfigError: The package is not installed, or does not load.
    """
    try:
        import onnxruntime_extensions

        onnxruntime_extensions.get_library_path()
    except Exception as error:
        raise ConfigError(
            f"{what} needs the package onnxruntime-extensions, which cannot be loaded ({error}); "
            "install it, or leave the option out"
        ) from error
