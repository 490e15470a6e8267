"""Reading a target's TOML file, and what it may hold.

    extends = "cpu"               # take all that is not said here from another target
    summary = "an x86 box"        # one line
    provider = "CPUExecutionProvider"
    formats = ["qdq"]             # what --format may be
    opset = 21                    # the least that it needs
    activation = "uint8"
    weight = "int8"
    bias = "int32"                # or "float"

    [axes]                        # operators whose weight may have a scale per channel
    Conv = "output"               # along the output channels, or a number

    [ops.Conv]                    # operators that run on integers
    kind = "heavy"                # or rescales, same-params, absorbed, fused; float takes one out

Everything else is optional; :class:`onnxq.plan.target.Target` says what it means. Unknown keys are
refused, lest a typo be overlooked.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from onnxq.errors import PlanError, TargetError
from onnxq.plan.cost import check_costs
from onnxq.plan.spec import IntType

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["merged", "read_table", "types_of", "validated"]

_FORMATS = ("qdq", "qoperator", "integer", "fp16", "qdq+fp16")
_RULE_KEYS = ("kind", "inputs", "needs_output", "when", "tail", "constants", "values")
_SOURCE_KEYS = ("stands", "where")
_NEEDED = (
    "summary",
    "provider",
    "formats",
    "opset",
    "activation",
    "weight",
    "bias",
    "axes",
    "ops",
)


def read_table(where: str, text: str) -> dict[str, Any]:
    """Returns the content of a TOML file.

    Raises:
        TargetError: It is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = " ".join(str(error).split())
        raise TargetError(f"{where} is no valid TOML: {reason}; mend it") from None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``base`` with the entries of ``over`` in it; tables are merged, all else replaced."""
    found = dict(base)
    for key, value in over.items():
        below = found.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        found[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return found


def types_of(data: Mapping[str, Any], key: str, own: IntType) -> tuple[IntType, ...]:
    """Returns the integer types that a key lists; without it the one that is written."""
    return tuple(IntType.parse(name) for name in data.get(key, [str(own)]))


def validated(where: str, table: Mapping[str, Any], kinds: Sequence[str]) -> Mapping[str, Any]:
    """Returns ``table``, in which everything is of the form that it must have.

    Args:
        where: What messages call the file.
        table: Its content, with what it extends.
        kinds: The kinds of operator that there are.

    Raises:
        TargetError: Something is missing, unknown or malformed; the message names file and key.
    """
    for key in _NEEDED:
        if key not in table:
            raise TargetError(f"{where}: {key} is missing; give it, or extend a target that has it")
    for key, value in table.items():
        _check_value(where, key, value)
    _check_axes(where, table["axes"])
    for op, entry in table["ops"].items():
        _check_rule(where, op, entry, [*kinds, "float"])
    for rule, entry in table.get("sources", {}).items():
        _check_source(where, rule, entry)
    if "costs" in table:
        check_costs(where, table["costs"])
    return table


def _check_value(where: str, key: str, value: object) -> None:
    if key in _TABLES:
        if not isinstance(value, Mapping):
            raise TargetError(f"{where}: {key} must be a table")
        return
    if key not in _VALUES:
        known = ", ".join((*_VALUES, *_TABLES))
        raise TargetError(f"{where}: {key} is unknown; there are {known}")
    wanted, fits = _VALUES[key]
    if not fits(value):
        raise TargetError(f"{where}: {key} must be {wanted}, not {value!r}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: object) -> bool:
    try:
        IntType.parse(value if isinstance(value, str) else "")
    except PlanError:
        return False
    return True


def _is_list(of: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(of, value))


_VALUES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "summary": ("a text", _is_text),
    "provider": ("the name of an execution provider", _is_text),
    "formats": (f"a list of {', '.join(_FORMATS)}", _is_list(lambda item: item in _FORMATS)),
    "opset": ("a whole number", _is_whole),
    "activation": ("an integer type such as uint8", _is_type),
    "activation_bits": ("a list of whole numbers", _is_list(_is_whole)),
    "activation_types": ("a list of integer types", _is_list(_is_type)),
    "symmetric": ("true or false", _is_switch),
    "channel_activations": ("true or false", _is_switch),
    "weight": ("an integer type such as int8", _is_type),
    "weight_bits": ("a list of whole numbers", _is_list(_is_whole)),
    "weight_types": ("a list of integer types", _is_list(_is_type)),
    "bias": ("int32 or float", lambda value: value in ("int32", "float")),
    "onnxruntime_kernels": ("true or false", _is_switch),
    "static_shapes": ("true or false", _is_switch),
    "refuses": ("true or false", _is_switch),
    "whole": ("true or false", _is_switch),
    "pair_bound": ("a whole number, 0 for none", _is_whole),
}
_TABLES = ("axes", "ops", "costs", "sources")


def _check_axes(where: str, axes: Mapping[str, object]) -> None:
    for op, axis in axes.items():
        if axis != "output" and not _is_whole(axis):
            raise TargetError(f'{where}: [axes] {op} must be "output" or an axis, not {axis!r}')


def _check_rule(where: str, op: str, entry: object, kinds: Sequence[str]) -> None:
    if not isinstance(entry, Mapping) or entry.get("kind") not in kinds:
        raise TargetError(f"{where}: [ops.{op}] needs kind = one of {', '.join(kinds)}")
    for key in entry:
        if key not in _RULE_KEYS:
            raise TargetError(
                f"{where}: [ops.{op}] does not know {key}; there are {', '.join(_RULE_KEYS)}"
            )
    inputs = entry.get("inputs", "all")
    if inputs != "all" and not _is_list(_is_whole)(inputs):
        raise TargetError(f'{where}: [ops.{op}] inputs must be "all" or a list of positions')
    for key in ("needs_output", "tail", "constants", "values"):
        if not _is_switch(entry.get(key, True)):
            raise TargetError(f"{where}: [ops.{op}] {key} must be true or false")
    if not isinstance(entry.get("when", {}), Mapping):
        raise TargetError(f"{where}: [ops.{op}] when must be a table of attributes")


def _check_source(where: str, rule: str, entry: object) -> None:
    if (
        not isinstance(entry, Mapping)
        or set(entry) != set(_SOURCE_KEYS)
        or entry["stands"] not in ("run", "documents")
        or not _is_text(entry["where"])
    ):
        raise TargetError(
            f'{where}: [sources] {rule} must be {{ stands = "run" or "documents", where = "…" }}'
        )
