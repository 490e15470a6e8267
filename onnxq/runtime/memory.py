"""How much memory a session takes, measured in a process of its own.

In one process, what the first model leaves behind would count for the second. The greatest memory
of a process is known to Linux (``VmHWM``, which unlike ``getrusage`` does not inherit what the
parent had) and to macOS; elsewhere nothing is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxq.runtime.session import CPU, make_session

if TYPE_CHECKING:
    from onnxq.runtime.session import Feed

__all__ = ["SessionMemory", "session_memory"]

_STATUS = Path("/proc/self/status")
# The child finds the packages where this process found them.
_CHILD = (
    "import json, sys; a = json.loads(sys.argv[1]); sys.path[:] = a.pop('path'); "
    "from onnxq.runtime.memory import _measure; print(json.dumps(_measure(**a)))"
)


@dataclass(frozen=True, slots=True)
class SessionMemory:
    """The memory of a process that makes a session and runs it once.

    Attributes:
        peak: Most bytes that were resident at a time.
        before: Bytes that were resident before the session was made: Python, onnxruntime, inputs.
    """

    peak: int
    before: int

    @property
    def session(self) -> int:
        """Most bytes that the session took: weights, activations, and what loading needs."""
        return max(0, self.peak - self.before)


def session_memory(
    model: Path, feeds: Feed, *, threads: int = 1, provider: str = CPU
) -> SessionMemory | str:
    """Measures the memory of one session and one run.

    Args:
        model: File of the model.
        feeds: Input name → array.
        threads: Threads inside an operator.
        provider: Execution provider; memory of devices is not seen.

    Returns:
        The memory, or the reason why it is not known.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        arrays = Path(folder) / "feeds.npz"
        np.savez(arrays, *feeds.values())
        task = {
            "path": sys.path,
            "model": str(model.absolute()),
            "names": list(feeds),
            "arrays": str(arrays),
            "threads": threads,
            "provider": provider,
        }
        # What is called is this interpreter, with our own code.
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _CHILD, json.dumps(task)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return f"the measuring process failed: {last[0]}"
    found = json.loads(done.stdout)
    return SessionMemory(**found) if found else "this platform does not tell"


def _measure(
    model: str, names: list[str], arrays: str, threads: int, provider: str
) -> dict[str, int] | None:
    """Runs in the child: makes the session, runs it, and returns the fields of the memory."""
    with np.load(arrays) as file:
        feeds = {name: file[key] for name, key in zip(names, file.files, strict=True)}
    now = _resident()
    if now is None:
        return None
    make_session(model, threads=threads, provider=provider).run(feeds)
    after = _resident()
    return None if after is None else {"peak": after[1], "before": now[0]}


def _resident() -> tuple[int, int] | None:
    """Returns the bytes of this process that are resident, and the most there ever were."""
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text("utf-8").splitlines())
        if {"VmRSS", "VmHWM"} <= fields.keys():
            now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
            return now, peak
    if sys.platform == "darwin":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak, peak
    return None
