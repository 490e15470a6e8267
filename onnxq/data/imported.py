"""Finds the callable that `package.module:callable` or `file.py:callable` names."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from onnxq.data.user_code import user_code
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_NAMED = re.compile(r"(?P<home>.+\.py|[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d][\w.]*)")
_HAS_DRIVES = os.name == "nt"
_LISTED = 5


@dataclass(frozen=True)
class ImportedCallable:
    """The name of a callable in the user's code.

    Attributes:
        text: What the user gave, for messages.
        home: Dotted module, or path of a `.py` file.
        name: Name in the module; dots lead into its attributes.
    """

    text: str
    home: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        r"""Reads `package.module:callable` or `file.py:callable`.

        Returns:
            The name; None for anything else: what exists as a path, and `C:name` on Windows.
        """
        found = _NAMED.fullmatch(text)
        if found is None or (_HAS_DRIVES and len(found["home"]) == 1) or Path(text).exists():
            return None
        return cls(text, found["home"], found["name"])

    def load(self) -> Callable[[], object]:
        """Imports the module with the current folder, and that of the file, on the import path.

        Raises:
            DataError: There is no such module, file or name, it cannot be called without
                arguments, or its code fails.
        """
        folders = [str(Path.cwd())]
        if self.home.endswith(".py"):
            folders.insert(0, str(Path(self.home).resolve().parent))
        with _on_import_path(folders):
            module = self._from_file() if self.home.endswith(".py") else self._from_path()
        found = self._attribute(module)
        if not callable(found):
            raise DataError(
                f"data {self.text} is a {type(found).__name__}, not a callable;"
                " name a function that yields feeds"
            )
        self._check_arguments(found)
        return found

    def _from_path(self) -> ModuleType:
        importlib.invalidate_caches()
        try:
            with user_code(f"data {self.text}: the import"):
                return importlib.import_module(self.home)
        except DataError as error:
            cause = error.__cause__
            if not isinstance(cause, ModuleNotFoundError) or not self._is_home(cause.name):
                raise
            raise DataError(
                f"data {self.text}: there is no module '{cause.name}' in the current folder or"
                " installed; check the name"
            ) from error

    def _is_home(self, name: str | None) -> bool:
        return name is not None and f"{self.home}.".startswith(f"{name}.")

    def _from_file(self) -> ModuleType:
        file = Path(self.home)
        if not file.is_file():
            raise DataError(f"data {self.text}: there is no file {file}; check the path")
        # The file's own name, so that worker processes can import what they are sent by name.
        name = file.stem if file.stem not in sys.modules else f"_data_{file.stem}"
        spec = importlib.util.spec_from_file_location(name, file.resolve())
        if spec is None or spec.loader is None:
            raise DataError(f"data {self.text}: {file} cannot be imported; check the path")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            with user_code(f"data {self.text}: the import"):
                spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    def _attribute(self, module: ModuleType) -> object:
        found: object = module
        for part in self.name.split("."):
            with user_code(f"data {self.text}: the look-up"):
                if not hasattr(found, part):
                    raise DataError(
                        f"data {self.text}: {_place(module)} has no '{part}'{_offer(module)};"
                        " check the name"
                    )
                found = getattr(found, part)
        return found

    def _check_arguments(self, found: Callable[..., object]) -> None:
        try:
            signature = inspect.signature(found)
        except (ValueError, TypeError):
            # Callables written in C may not tell.
            return
        try:
            signature.bind()
        except TypeError:
            raise DataError(
                f"data {self.text} takes arguments {signature}, but is called without;"
                " give each a default"
            ) from None


@contextlib.contextmanager
def _on_import_path(folders: list[str]) -> Iterator[None]:
    """Puts folders in front for the import, and behind all others from then on.

    In front, so that the user's module wins; later behind, so that its neighbours shadow nothing
    that is imported afterwards, while the user's code still finds what it imports late.
    """
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = [*before, *(folder for folder in folders if folder not in before)]


def _place(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return f"module '{module.__name__}' ({file})" if file else f"module '{module.__name__}'"


def _offer(module: ModuleType) -> str:
    """The public callables that the module itself defines."""
    own = [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]
    return f", it has {', '.join(own[:_LISTED])}" if own else ""
