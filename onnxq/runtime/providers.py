"""What the installed onnxruntime can run models on."""

from __future__ import annotations

import onnxruntime as ort

from onnxq.errors import ConfigError

__all__ = ["provider_called"]

_SUFFIX = "ExecutionProvider"


def provider_called(name: str) -> str:
    """Returns the execution provider that ``name`` means, in any case, with or without its ending.

    Args:
        name: For example ``CUDAExecutionProvider`` or ``cuda``.

    Raises:
        ConfigError: The installed onnxruntime does not offer it.
    """
    offered: list[str] = ort.get_available_providers()
    wanted = name.lower().removesuffix(_SUFFIX.lower())
    for provider in offered:
        if provider.removesuffix(_SUFFIX).lower() == wanted:
            return provider
    raise ConfigError(
        f"--provider '{name}' is not in the installed onnxruntime, which offers "
        f"{', '.join(offered)}; choose one of them, or install an onnxruntime that has it"
    )
