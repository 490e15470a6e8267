"""Makes packages that offer passes look installed, without a network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

__all__ = ["install"]


def install(
    patch: pytest.MonkeyPatch,
    folder: Path,
    package: str,
    entries: Mapping[str, str],
    sources: Mapping[str, str] | None = None,
) -> None:
    """Puts version 1.2 of a package into ``folder``, and that on Python's path, for one test.

    Args:
        patch: Undoes it after the test.
        folder: Where to put it.
        package: Its name.
        entries: Entry point → "module:name", in the group ``onnxq.passes``.
        sources: Module → its code; without any, the modules have to be elsewhere on the path.
    """
    info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    lines = [f"{name} = {value}\n" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("".join(["[onnxq.passes]\n", *lines]))
    for module, code in (sources or {}).items():
        (folder / f"{module}.py").write_text(code)
        patch.delitem(sys.modules, module, raising=False)
    patch.syspath_prepend(folder)
