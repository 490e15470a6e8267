"""Which passes run, in which order and how: ``--passes``, ``--skip`` and ``--pipeline``.

``--passes a,b`` lets a and b run alone; ``--passes +c`` lets c, which runs on request, join the
others.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from onnxq.config import Config
    from onnxq.pass_options import PassOption
    from onnxq.pipeline_file import Step

__all__ = ["arranged", "check_names", "check_pipeline", "may_run", "repeating"]


class Selectable(Protocol):
    """A pass, as far as selecting it goes; see :mod:`onnxq.passbase`."""

    @property
    def name(self) -> str:
        """What ``--passes`` and ``--skip`` call it."""

    @property
    def options(self) -> Mapping[str, PassOption]:
        """What a pipeline file may set."""

    @property
    def after(self) -> frozenset[str]:
        """Names of passes that must not come later."""

    @property
    def on_request(self) -> bool:
        """Whether it runs only where the options name it."""

    def configured(self, values: Mapping[str, object]) -> Self:
        """Returns it with other values of its options."""


PassT = TypeVar("PassT", bound=Selectable)


# ---- what is asked for ---------------------------------------------------------------------------


def may_run(config: Config, name: str) -> bool:
    """Returns whether ``config`` may let the pass ``name`` run, whatever its kind."""
    if name in config.skip:
        return False
    pipeline = config.pipeline
    if pipeline is None:
        alone = _alone(config)
        return not alone or name in alone or name in _added(config)
    return name in pipeline.names or None in (pipeline.rewrite, pipeline.plan)


def repeating(config: Config, names: Iterable[str]) -> Config:
    """Returns options with which these passes run too, unless a pipeline says which do."""
    if config.pipeline is not None:
        return config
    return dataclasses.replace(config, passes=(*config.passes, *(f"+{name}" for name in names)))


def arranged(
    kind: str,
    passes: Iterable[PassT],
    config: Config,
    *,
    needed: Collection[str] = (),
    wished: Collection[str] = (),
) -> list[PassT]:
    """Returns the passes that ``config`` lets run, in its order and with its options.

    Args:
        kind: "rewrite" or "plan", which is what ``passes`` are.
        passes: All there are, in the order in which they run without a pipeline.
        config: The options.
        needed: Names of those that run whatever ``--passes`` says.
        wished: Names of those on request that another option asks for.
    """
    steps = None if config.pipeline is None else config.pipeline.steps(kind)
    if steps is not None:
        known = {p.name: p for p in passes}
        return [
            known[step.name].configured(_values(known[step.name], step))
            for step in steps
            if step.name not in config.skip
        ]

    alone, joining = _alone(config), {*_added(config), *wished}

    def wanted(found: PassT) -> bool:
        if alone:
            return found.name in {*alone, *_added(config), *needed}
        return not found.on_request or found.name in joining

    return [p for p in passes if wanted(p) and p.name not in config.skip]


def _alone(config: Config) -> list[str]:
    return [name for name in config.passes if not name.startswith("+")]


def _added(config: Config) -> list[str]:
    return [name[1:] for name in config.passes if name.startswith("+")]


# ---- checks --------------------------------------------------------------------------------------


def check_names(config: Config, known: Sequence[str], optional: Sequence[str]) -> None:
    """Makes sure that ``--passes`` and ``--skip`` name passes that can be chosen.

    Args:
        config: The options.
        known: Names of all passes there are.
        optional: Names of those that a result can do without.

    Raises:
        ConfigError: A name is unknown, or one to skip is needed.
    """
    for name in (*_alone(config), *_added(config), *config.skip):
        if name not in known:
            raise ConfigError(f"there is no pass '{name}'; {_hint(name, known)}")
    for name in config.skip:
        if name not in optional:
            raise ConfigError(
                f"--skip {name}: nothing works without it; these can be left out: "
                f"{', '.join(optional)}"
            )


def check_pipeline(
    config: Config,
    passes: Mapping[str, Sequence[Selectable]],
    *,
    fixed: Collection[str],
    needed: Mapping[str, Collection[str]],
) -> None:
    """Makes sure that ``--pipeline`` lists passes and options that there are, and what is needed.

    Args:
        config: The options; what ``--skip`` leaves out need not be right.
        passes: "rewrite" and "plan" → the passes of this kind that it may list.
        fixed: Names of passes that run in any case, at their own places.
        needed: "rewrite" and "plan" → names of passes that it has to list.

    Raises:
        ConfigError: It does not; the message names the file and the pass.
    """
    pipeline = config.pipeline
    for kind, known in passes.items():
        listed = None if pipeline is None else pipeline.steps(kind)
        if pipeline is None or listed is None:
            continue
        steps = [step for step in listed if step.name not in config.skip]
        by_name = {p.name: p for p in known}
        for step in steps:
            where = f"{pipeline.source}: [[{kind}]] {step.name}"
            if step.name not in by_name:
                raise ConfigError(f"{where}: {_misplaced(step.name, passes, fixed)}")
            _check_options(where, by_name[step.name], step)
        names = [step.name for step in steps]
        for name in sorted(set(needed[kind]) - set(names)):
            raise ConfigError(
                f"{pipeline.source}: [[{kind}]] lacks {name}; nothing works without it, add it"
            )
        _check_order(f"{pipeline.source}: [[{kind}]]", [by_name[name] for name in names])


def _misplaced(
    name: str, passes: Mapping[str, Sequence[Selectable]], fixed: Collection[str]
) -> str:
    for kind, known in passes.items():
        if name in [p.name for p in known]:
            return f"it is a {kind} pass; list it under [[{kind}]]"
    if name in fixed:
        return "it runs in any case, at its own place; leave it out"
    names = [p.name for known in passes.values() for p in known]
    return f"there is no such pass; {_hint(name, names)}"


def _check_options(where: str, found: Selectable, step: Step) -> None:
    for key, value in step.options:
        if key not in found.options:
            known = list(found.options)
            close = difflib.get_close_matches(key, known, n=1)
            there = f"it has {', '.join(known)}" if known else "it has none"
            hint = f"did you mean {close[0]}?" if close else there
            raise ConfigError(f"{where}: option '{key}' is unknown; {hint}")
        option, elsewhere = found.options[key], _set_elsewhere(found, key)
        read = option.read(value)
        if read is None:
            raise ConfigError(f"{where}: {key} = {value!r} is not allowed; give {option.wanted}")
        if elsewhere not in (None, read):
            raise ConfigError(
                f"{where}: {key} = {value!r} contradicts another option, which says "
                f"{elsewhere!r}; leave one of them out"
            )


def _set_elsewhere(found: Selectable, key: str) -> object:
    """Returns the value that another option gave to this one of a pass; None if none did."""
    given = getattr(found, key)
    defaults: dict[str, object] = (
        {field.name: field.default for field in dataclasses.fields(found)}
        if dataclasses.is_dataclass(found)
        else {}
    )
    return None if given == defaults.get(key, given) else given


def _check_order(where: str, passes: Sequence[Selectable]) -> None:
    for number, one in enumerate(passes):
        for later in passes[number + 1 :]:
            if later.name in one.after:
                raise ConfigError(
                    f"{where} {one.name} builds on {later.name}; list it after {later.name}"
                )


def _values(found: Selectable, step: Step) -> dict[str, object]:
    return {key: found.options[key].read(value) for key, value in step.options}


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else "see 'onnxq passes'"
