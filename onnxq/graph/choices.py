"""What rewrites chose by samples, written down in the model that they rewrote.

Who has the float model can repeat rewrites, but not those that decide by samples. So these note in
the model what they chose, value by value; given the notes of a finished model, they choose the same
for its float model, and both hold the same in values of the same name. The notes are one entry of
the model's metadata, in the order in which choices were made:

    onnxq.choices = [["smooth-activations", {"value": ["bfloat16", "base64 of an array"]}], …]

A number takes 3 bytes of the file where bfloat16 holds it, else 6. So rewrites that choose many
round them (:func:`storable`) before they put them into effect.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Chosen = Mapping[str, npt.NDArray[Any]]

__all__ = [
    "Choices",
    "factors_by_value",
    "forget_choices",
    "note_choice",
    "numbered_factors",
    "storable",
    "told_choices",
]

_KEY = "onnxq.choices"
_DTYPES = {
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype("<f4"),
}


class Choices:
    """Choices that were written down, to be taken in turn.

    Args:
        notes: As :func:`told_choices` returns them. Those that cannot be read count as none.
    """

    def __init__(self, notes: str) -> None:
        try:
            self._rest = [
                (str(kind), {str(name): _decoded(*packed) for name, packed in values.items()})
                for kind, values in json.loads(notes)
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            self._rest = []

    @property
    def passes(self) -> tuple[str, ...]:
        """Names of the passes whose choices have not been taken."""
        return tuple(dict.fromkeys(kind.partition("/")[0] for kind, _ in self._rest))

    def take(self, kind: str) -> dict[str, npt.NDArray[Any]]:
        """Returns the next choice, value name → array, if it is of this kind; else nothing."""
        if not self._rest or self._rest[0][0] != kind:
            return {}
        return self._rest.pop(0)[1]


def told_choices(model: ir.Model) -> str:
    """Returns the choices that a model's metadata tell, a JSON list."""
    return model.metadata_props.get(_KEY, "[]")


def note_choice(model: ir.Model, kind: str, chosen: Chosen) -> None:
    """Writes a choice down behind those that the model tells already.

    Args:
        model: Only its metadata change.
        kind: The name of a pass, followed by "/" and more if it chooses several things.
        chosen: Value name → array [n], kept as float32 or, if it holds integers, uint32.
    """
    notes = json.loads(told_choices(model))
    notes.append([kind, {name: _encoded(array) for name, array in chosen.items()}])
    model.metadata_props[_KEY] = json.dumps(notes, separators=(",", ":"))


def forget_choices(model: ir.Model) -> None:
    """Removes what was written down."""
    model.metadata_props.pop(_KEY, None)


def factors_by_value(values: Iterable[tuple[str, Indices]], factors: Array) -> dict[str, Array]:
    """Returns factors as a choice: value name → factors [n], until all that differ from 1 are told.

    Args:
        values: Names of values, and the number of the factor of each channel, -1 for none.
        factors: By number; the last one is the 1 of what carries none.
    """
    told = factors == 1
    chosen = {}
    for name, numbers in values:
        if not told[numbers].all():
            chosen[name] = factors[numbers]
            told[numbers] = True
    return chosen


def numbered_factors(
    values: Iterable[tuple[str, Indices]], chosen: Chosen, count: int
) -> npt.NDArray[np.float64]:
    """Returns the ``count`` factors of a choice by number, and behind them a 1; 1 if not told."""
    factors = np.ones(count + 1)
    for name, numbers in values:
        if name in chosen and chosen[name].shape == numbers.shape:
            factors[numbers] = chosen[name]
    factors[-1] = 1.0
    return factors


def storable(numbers: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Returns numbers rounded to bfloat16, to within 1/256 of each."""
    return numbers.astype(_DTYPES["bfloat16"]).astype(np.float64)


def _encoded(array: npt.NDArray[Any]) -> tuple[str, str]:
    """Returns the name of the smallest dtype that holds the array, and the array's bytes."""
    small, large = ("bfloat16", "float32") if array.dtype.kind == "f" else ("uint16", "uint32")
    dtype = small if np.array_equal(array.astype(_DTYPES[small]), array) else large
    return dtype, base64.b64encode(array.astype(_DTYPES[dtype]).tobytes()).decode("ascii")


def _decoded(dtype: str, text: str) -> npt.NDArray[Any]:
    array = np.frombuffer(base64.b64decode(text, validate=True), _DTYPES[dtype])
    return array.astype(np.int64 if array.dtype.kind == "u" else np.float64)
