"""Passes of other packages: what they offer under the entry point group ``onnxq.passes``.

An entry point is called as its pass is, so what is left out need not be imported. It names what,
called without arguments, returns a :class:`RewritePass` or a :class:`PlanPass`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

from onnxq.errors import ConfigError
from onnxq.pass_options import PassOption
from onnxq.passbase import PlanPass, RewritePass
from onnxq.selection import may_run

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onnxq.config import Config

__all__ = ["GROUP", "ForeignPasses", "Offer", "load_foreign", "offers"]

GROUP = "onnxq.passes"
"""The group of entry points."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A pass that an installed package offers.

    Attributes:
        name: The pass.
        package: The package.
        version: Its version.
        entry: Where the pass is.
    """

    name: str
    package: str
    version: str
    entry: metadata.EntryPoint

    def load(self) -> RewritePass | PlanPass:
        """Imports the package and returns the pass.

        Raises:
            ConfigError: That fails, or what it returns is no pass of this name.
        """
        try:
            made: object = self.entry.load()()
        except (Exception, SystemExit) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise self._broken(f"cannot be loaded from {self.entry.value} ({reason})") from error
        if not isinstance(made, RewritePass | PlanPass):
            kind = type(made).__name__
            raise self._broken(f"is a {kind}, and has to be a RewritePass or a PlanPass")
        called = getattr(made, "name", "nothing")
        if called != self.name:
            raise self._broken(f"calls itself {called}; entry point and pass need one name")
        if isinstance(made, PlanPass) and not dataclasses.is_dataclass(made):
            raise self._broken("is a PlanPass, and has to be a frozen dataclass")
        if isinstance(made, RewritePass) and not hasattr(made, "_notes"):
            raise self._broken("is a RewritePass, and has to call its __init__")
        for name, option in made.options.items():
            if not isinstance(option, PassOption) or not hasattr(made, name):
                raise self._broken(f"has an option '{name}', which needs a PassOption and a value")
        return made

    def _broken(self, reason: str) -> ConfigError:
        return ConfigError(
            f"pass {self.name} of package {self.package} {self.version} {reason}; mend or "
            f"uninstall {self.package}, or leave the pass out with --skip {self.name}"
        )


@dataclass(frozen=True, slots=True)
class ForeignPasses:
    """The passes of other packages that a run uses.

    Attributes:
        rewrites: Those that rewrite; they run after onnxq's own.
        plans: Those that revise plans, the same.
        packages: Package → version, of those that offer them.
    """

    rewrites: tuple[RewritePass, ...] = ()
    plans: tuple[PlanPass, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """The names of all of them."""
        return frozenset({p.name for p in self.rewrites} | {p.name for p in self.plans})


def offers(own: Collection[str]) -> list[Offer]:
    """Returns what the installed packages offer, by package and name; imports none of them.

    Args:
        own: Names of onnxq's passes.

    Raises:
        ConfigError: Two passes have one name.
    """
    found = []
    for entry in metadata.entry_points(group=GROUP):
        package, version = "(unknown)", ""
        if entry.dist is not None:
            package, version = entry.dist.name, entry.dist.version
        found.append(Offer(entry.name, package, version, entry))
    found.sort(key=lambda offer: (offer.package, offer.name))
    seen = dict.fromkeys(own, "onnxq")
    for offer in found:
        if offer.name in seen:
            raise ConfigError(
                f"{seen[offer.name]} and package {offer.package} both have a pass {offer.name}; "
                f"uninstall {offer.package}, or ask its authors for another name"
            )
        seen[offer.name] = f"package {offer.package}"
    return found


def load_foreign(config: Config, own: Collection[str]) -> ForeignPasses:
    """Loads the passes of other packages that ``config`` may let run, and no others.

    Args:
        config: The options.
        own: Names of onnxq's passes.

    Raises:
        ConfigError: One cannot be loaded, or two passes have one name.
    """
    chosen = [offer for offer in offers(own) if may_run(config, offer.name)]
    passes = [offer.load() for offer in chosen]
    return ForeignPasses(
        rewrites=tuple(p for p in passes if isinstance(p, RewritePass)),
        plans=tuple(p for p in passes if isinstance(p, PlanPass)),
        packages={offer.package: offer.version for offer in chosen},
    )
