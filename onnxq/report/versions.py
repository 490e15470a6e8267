"""The versions of what a result depends on."""

from __future__ import annotations

import platform
from importlib import metadata

__all__ = ["versions"]

_PACKAGES = ("onnxq", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "scipy", "networkx")


def versions() -> dict[str, str]:
    """Returns package name → installed version, Python included; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
