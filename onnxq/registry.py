"""All passes there are: their names, for ``onnxq passes`` and to check what the user asks for."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from onnxq.config import Config
from onnxq.errors import ConfigError
from onnxq.foreign import Offer, load_foreign, offers
from onnxq.passbase import PlanPass, RewritePass, summary_of
from onnxq.passes.lower import lowered, lowerings
from onnxq.passes.plan import (
    NEEDED,
    deciding_passes,
    fitting_passes,
    half_passes,
    needed_passes,
)
from onnxq.passes.rewrite import float_rewrites
from onnxq.passes.rewrite.normalize import normalize_passes, precision_passes, repair_passes
from onnxq.plan.quant_plan import QuantPlan
from onnxq.selection import check_names, check_pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.foreign import ForeignPasses
    from onnxq.passbase import LoweringPass

__all__ = ["PassRow", "chosen_foreign", "default_pipeline", "known_passes", "optional_passes"]

_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class PassRow(NamedTuple):
    """One pass, for people.

    Attributes:
        name: What the options call it.
        kind: "rewrite", "plan", "lowering"; "unusable" if it cannot be loaded.
        summary: What it does, or why it is unusable.
        origin: The package that it comes from, with its version; empty = onnxq.
        options: What a pipeline file may set → what is allowed.
        on_request: Whether it runs only where the options name it.
    """

    name: str
    kind: str
    summary: str
    origin: str = ""
    options: Mapping[str, str] = _NO_OPTIONS
    on_request: bool = False


def known_passes() -> list[PassRow]:
    """Returns every pass, in the order in which they run, those of other packages last.

    Raises:
        ConfigError: Two passes have one name.
    """
    rows = {(row.name, row.kind): row for row in map(_row, _own())}
    own = frozenset(name for name, _ in rows)
    return [*rows.values(), *map(_offered, offers(own))]


def default_pipeline() -> str:
    """Returns what runs by default as a pipeline file, with the values that the options have.

    Raises:
        ConfigError: A pass of another package cannot be loaded, or two passes have one name.
    """
    foreign = chosen_foreign(Config())
    rewrites = [*float_rewrites(), *foreign.rewrites]
    plans = fitting_passes(Config(), lowered, foreign.plans, every=True)
    tables = [_table("rewrite", p) for p in rewrites if not p.on_request]
    tables += [_table("plan", p) for p in plans if not p.on_request]
    return "\n".join(tables)


def _table(kind: str, found: RewritePass | PlanPass) -> str:
    values = {name: getattr(found, name) for name in found.options}
    lines = [f"{name} = {json.dumps(v)}" for name, v in values.items() if v is not None]
    return "\n".join([f"[[{kind}]]", f'name = "{found.name}"', *lines, ""])


def chosen_foreign(config: Config) -> ForeignPasses:
    """Returns the passes of other packages that ``config`` lets run, after checking its names.

    Raises:
        ConfigError: ``--passes``, ``--skip`` or ``--pipeline`` names what there is not, or leaves
            out what is needed, or contradicts another option; a pass of another package cannot
            be loaded.
    """
    own = list(dict.fromkeys(p.name for p in _own()))
    rewrites, fitting = float_rewrites(), fitting_passes(config, lowered, every=True)
    others = [offer.name for offer in offers(own)]
    needed = needed_passes(config)
    optional = [name for name in optional_passes() if name not in needed]
    check_names(config, [*own, *others], [*optional, *others])
    foreign = load_foreign(config, own)
    check_pipeline(
        config,
        {"rewrite": [*rewrites, *foreign.rewrites], "plan": [*fitting, *foreign.plans]},
        fixed=own,
        needed={"rewrite": (), "plan": needed},
    )
    return foreign


def optional_passes() -> list[str]:
    """Returns the names of onnxq's own passes that a result can do without, in their order."""
    fitting = fitting_passes(Config(), lowered, every=True)
    names = [p.name for p in float_rewrites()] + [p.name for p in fitting]
    return [name for name in names if name not in NEEDED]


def _own() -> list[RewritePass | PlanPass | LoweringPass]:
    config = Config()
    return [
        *repair_passes(),
        *precision_passes(),
        *normalize_passes(),
        *float_rewrites(),
        *deciding_passes(config, with_data=False),
        *deciding_passes(config, with_data=True),
        *fitting_passes(config, lowered, every=True),
        *half_passes(Config(format="fp16")),
        *lowerings(QuantPlan()).values(),
    ]


def _row(found: RewritePass | PlanPass | LoweringPass, origin: str = "") -> PassRow:
    summary = summary_of(found)
    if not isinstance(found, RewritePass | PlanPass):
        return PassRow(found.name, "lowering", summary)
    kind = "rewrite" if isinstance(found, RewritePass) else "plan"
    options = {name: option.wanted for name, option in found.options.items()}
    return PassRow(found.name, kind, summary, origin, options, found.on_request)


def _offered(offer: Offer) -> PassRow:
    origin = f"{offer.package} {offer.version}".strip()
    try:
        return _row(offer.load(), origin)
    except ConfigError as error:
        return PassRow(offer.name, "unusable", str(error), origin)
