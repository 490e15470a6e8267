"""Which of the CPU targets the machine at hand is."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

__all__ = ["machine_target"]

_X86 = ("x86_64", "amd64")
_ARM = ("arm64", "aarch64")
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})
_FLAGS = Path("/proc/cpuinfo")


@cache
def machine_target() -> str:
    """Returns the name of the CPU target that this machine is; empty where that cannot be told.

    Files are made for the target that is asked for, whatever the machine; this is for people who
    read times that were measured on it.
    """
    architecture = platform.machine().lower()
    if architecture in _ARM:
        return "cpu-arm"
    flags = _flags() if architecture in _X86 else frozenset()
    if not flags:
        return ""
    return "cpu-vnni" if flags & _VNNI else "cpu-avx2"


def _flags() -> frozenset[str]:
    """Returns what the processor says that it can do, on Linux; nothing elsewhere."""
    try:
        lines = _FLAGS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    told = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return frozenset(next(told, "").split())
