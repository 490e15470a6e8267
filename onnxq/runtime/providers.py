"""What the installed onnxruntime can run models on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime as ort

from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["provider_called", "provider_settings"]

_SUFFIX = "ExecutionProvider"
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu, with TensorRT",
    "openvino": "onnxruntime-openvino",
    "dml": "onnxruntime-directml",
    "qnn": "onnxruntime-qnn",
    "migraphx": "onnxruntime-migraphx",
    "coreml": "onnxruntime on macOS",
}
"""Provider → the package whose onnxruntime has it; one of them replaces another."""
_ALSO = {"directml": "dml"}


def provider_called(name: str) -> str:
    """Returns the execution provider that ``name`` means, in any case, with or without its ending.

    Args:
        name: For example ``CUDAExecutionProvider`` or ``cuda``.

    Raises:
        ConfigError: The installed onnxruntime does not offer it; the message says what to install.
    """
    offered: list[str] = ort.get_available_providers()
    wanted = name.lower().removesuffix(_SUFFIX.lower())
    wanted = _ALSO.get(wanted, wanted)
    for provider in offered:
        if provider.removesuffix(_SUFFIX).lower() == wanted:
            return provider
    there = f"the installed onnxruntime, which offers {', '.join(offered)}"
    if wanted in _PACKAGES:
        mend = f"install {_PACKAGES[wanted]} in place of onnxruntime"
    else:
        mend = "choose one of them, or install an onnxruntime that has it"
    raise ConfigError(f"--provider '{name}' is not in {there}; {mend}")


def provider_settings(provider: str, threads: int, *, quantized: bool) -> Mapping[str, str]:
    """Returns what a provider has to be told, as onnxruntime wants it.

    Args:
        provider: Its full name.
        threads: Threads that it may use; only OpenVINO does not take them from the session.
        quantized: Whether the model holds QuantizeLinear nodes, which TensorRT has to expect.
    """
    if provider == f"OpenVINO{_SUFFIX}":
        return {"device_type": "CPU", "num_of_threads": str(threads)}
    if provider == f"Tensorrt{_SUFFIX}" and quantized:
        return {"trt_int8_enable": "1"}
    return {}
