"""Preprocessing told by the model itself, where that is safe.

1. Ultralytics writes ``task``, ``names`` and ``stride`` into the model's metadata. Classifiers take
   the shorter side of their input, a centre crop and levels / 255, all others a letterbox and
   levels / 255. YOLOv5 exports have ``names`` and ``stride`` alone.
2. ONNX's own image metadata: ``Image.BitmapPixelFormat`` (Gray8, Rgb8, Bgr8 …) and
   ``Image.NominalPixelRange`` (0..255, 0..1, -1..1), both needed; resized by stretching.
3. An input of element type uint8 takes plain levels, in RGB; resized by stretching. Not so where
   the metadata says that it takes codes (:mod:`onnxq.graph.integer_io`).

Everything else, mean and deviation above all, cannot be seen in a model: no guess.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.data.model_inputs import input_specs
from onnxq.data.preprocess import Preprocess
from onnxq.data.presets import PRESETS
from onnxq.graph.integer_io import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from onnxq.data.base import InputSpec

__all__ = ["Guess", "guess_preprocess"]

_FORMAT, _RANGE = "Image.BitmapPixelFormat", "Image.NominalPixelRange"
_CHANNELS = {"gray": "gray", "rgb": "rgb", "rgba": "rgb", "bgr": "bgr", "bgra": "bgr"}
_RANGES = {
    "NominalRange_0_255": Preprocess(),
    "Normalized_0_1": Preprocess(scale=1 / 255),
    "Normalized_1_1": Preprocess(scale=1 / 127.5, mean=(1.0,)),
}
_IMAGE_RANK = 4


class Guess(NamedTuple):
    """A preprocessing and what told it.

    Attributes:
        preprocess: Not bound to the model yet.
        reason: For people: "told by the model's metadata (Ultralytics, task detect)".
    """

    preprocess: Preprocess
    reason: str


def guess_preprocess(model: ir.Model) -> Guess | None:
    """Returns how the one image input of ``model`` is made; None where that cannot be told."""
    specs = input_specs(model)
    if len(specs) != 1 or len(specs[0].shape) != _IMAGE_RANK:
        return None
    metadata = {**model.graph.metadata_props, **model.metadata_props}
    return (
        _ultralytics(metadata, specs[0]) or _image_metadata(metadata) or _levels(specs[0], metadata)
    )


def _ultralytics(metadata: Mapping[str, str], spec: InputSpec) -> Guess | None:
    """Rule 1."""
    if not {"names", "stride"} <= metadata.keys() or np.dtype(spec.dtype).kind in "iu":
        return None
    task = metadata.get("task", "detect")
    reason = f"told by the model's metadata (Ultralytics, task {task})"
    if task != "classify":
        return Guess(PRESETS["yolo"], reason)
    sides = [side for side in spec.shape[2:] if side is not None]
    short = min(sides) if len(sides) == 2 else None
    return Guess(Preprocess(resize="crop", short_side=short, scale=1 / 255), reason)


def _image_metadata(metadata: Mapping[str, str]) -> Guess | None:
    """Rule 2."""
    channels = _CHANNELS.get(metadata.get(_FORMAT, "").removesuffix("8").lower())
    values = _RANGES.get(metadata.get(_RANGE, ""))
    if channels is None or values is None:
        return None
    reason = f"told by the model's metadata ({metadata[_FORMAT]}, {metadata[_RANGE]})"
    return Guess(replace(values, channels=channels), reason)


def _levels(spec: InputSpec, metadata: Mapping[str, str]) -> Guess | None:
    """Rule 3."""
    if np.dtype(spec.dtype) != np.uint8 or KEY in metadata:
        return None
    return Guess(PRESETS["raw"], f"input '{spec.name}' takes 8-bit levels")
