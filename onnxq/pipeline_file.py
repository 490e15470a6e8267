"""The pipeline file: which passes run, in which order, with which options.

    [[rewrite]]
    name = "fold-batchnorm"

    [[plan]]
    name = "fit-activations"
    method = "percentile"
    percent = 99.9

A kind of pass that the file says nothing about runs as it does without a file; ``rewrite = []``
says that no rewrite runs. Here the file is read; what its names and options mean is checked by
:mod:`onnxq.selection`, against the passes that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from onnxq.errors import ConfigError
from onnxq.toml_file import read_toml

if TYPE_CHECKING:
    import os

__all__ = ["KINDS", "Pipeline", "Step"]

KINDS = ("rewrite", "plan")
"""The kinds of pass that a file lists, which are its keys."""


@dataclass(frozen=True, slots=True)
class Step:
    """One pass of a pipeline.

    Attributes:
        name: The pass.
        options: (option, value) pairs, as the file holds them.
    """

    name: str
    options: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a pipeline file holds.

    Attributes:
        rewrite: The optional rewrites to run, in this order; None = as without a file.
        plan: The same for the plan passes that fit and correct.
        source: What messages call it.
    """

    rewrite: tuple[Step, ...] | None = None
    plan: tuple[Step, ...] | None = None
    source: str = field(default="the pipeline", compare=False)

    @classmethod
    def of(cls, given: str | os.PathLike[str] | Mapping[str, object]) -> Self:
        """Reads a TOML file, or a mapping with the same content.

        Raises:
            ConfigError: It cannot be read, or it is not of that form; the message names the file
                and the key.
        """
        if isinstance(given, Mapping):
            return cls._from_table(cls().source, given)
        path = Path(given)
        return cls._from_table(str(path), read_toml(path))

    @classmethod
    def _from_table(cls, source: str, table: Mapping[str, object]) -> Self:
        for key in table:
            if key not in KINDS:
                known = " and ".join(f"[[{kind}]]" for kind in KINDS)
                raise ConfigError(f"{source}: key '{key}' is unknown; there are {known}")
        kinds = {kind: _steps(source, kind, table[kind]) for kind in KINDS if kind in table}
        return cls(**kinds, source=source)

    def steps(self, kind: str) -> tuple[Step, ...] | None:
        """Returns the passes of a kind; None if the file leaves them as they are."""
        return {"rewrite": self.rewrite, "plan": self.plan}[kind]

    @property
    def path(self) -> str:
        """The file that it was read from; empty for a mapping."""
        return "" if self.source == type(self)().source else self.source

    @property
    def names(self) -> frozenset[str]:
        """The names of all passes that it lists."""
        return frozenset(step.name for kind in KINDS for step in self.steps(kind) or ())

    def to_dict(self) -> dict[str, list[dict[str, object]]]:
        """Returns the content in plain types, from which :meth:`of` makes the same pipeline."""
        listed = {kind: self.steps(kind) for kind in KINDS}
        return {
            kind: [{"name": step.name, **dict(step.options)} for step in steps]
            for kind, steps in listed.items()
            if steps is not None
        }


def _steps(source: str, kind: str, items: object) -> tuple[Step, ...]:
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ConfigError(f"{source}: {kind} is no list of tables; head each pass with [[{kind}]]")
    steps: list[Step] = []
    for number, item in enumerate(items, 1):
        name = item.get("name")
        if not isinstance(name, str) or not name:
            raise ConfigError(
                f'{source}: [[{kind}]] number {number} needs name = "…"; give the name of a pass'
            )
        if name in [step.name for step in steps]:
            raise ConfigError(f"{source}: [[{kind}]] lists {name} twice; leave one out")
        options = tuple((key, value) for key, value in item.items() if key != "name")
        steps.append(Step(name, options))
    return tuple(steps)
