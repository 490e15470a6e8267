"""All cases of a study: the shipped models, and those of a Python file that ``--tasks`` names.

Such a file holds ``TASKS``, a mapping of name → task with a path ``model`` and a ``kind``,
"classification" or "detection", and the functions

* ``calibration_batch(task, n)``: at most n samples, float32 [n, ...];
* ``predict(task, run, limit)``: what ``run(sample) -> outputs`` finds in the first ``limit``
  labelled samples, one entry each;
* ``metric(task, found)``: percent, top-1 or mAP;
* ``fidelity(task, base, found)``: percent, how far two models find the same.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.study.case import Case
from tools.study.shipped import shipped_cases

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    import numpy.typing as npt
    import onnxruntime as ort

__all__ = ["cases_of"]

_EVERY = 1 << 30


def cases_of(tasks: Path | None, names: Sequence[str] = (), limit: int | None = None) -> list[Case]:
    """Returns the cases of the file ``tasks``, then the shipped models.

    Args:
        tasks: The file; None for the shipped models alone.
        names: Those to return; empty for all.
        limit: Number of labelled samples to use; None = all.

    Raises:
        SystemExit: A name is unknown, or the file cannot be read.
    """
    found: list[Case] = []
    if tasks is not None:
        module = _imported(tasks)
        found += [_Task(name, task, module, limit) for name, task in module.TASKS.items()]
    found += shipped_cases(limit)
    known = [case.name for case in found]
    for name in names:
        if name not in known:
            raise SystemExit(f"there is no case '{name}'; there are {', '.join(known)}")
    return [case for case in found if not names or case.name in names]


class _Task(Case):
    def __init__(self, name: str, task: Any, module: ModuleType, limit: int | None) -> None:  # noqa: ANN401
        super().__init__(name, task.model, limit)
        self.detects = task.kind == "detection"
        self._task = task
        self._module = module

    def _pool(self) -> npt.NDArray[np.float32]:
        return np.asarray(self._module.calibration_batch(self._task, _EVERY), np.float32)

    def _predict(self, session: ort.InferenceSession) -> Sequence[Any]:
        name = session.get_inputs()[0].name

        def run(sample: npt.NDArray[np.float32]) -> Sequence[Any]:
            return list(session.run(None, {name: sample}))

        return list(self._module.predict(self._task, run, self.limit))

    def _metric(self, entries: Sequence[Any]) -> float:
        return float(self._module.metric(self._task, entries))

    def _agreement(self, base: Sequence[Any], other: Sequence[Any]) -> float:
        return float(self._module.fidelity(self._task, base, other))


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file; give one that holds TASKS")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
