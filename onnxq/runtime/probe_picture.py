"""A generated image file, for inputs that take one: random bytes would end the process.

onnxruntime-extensions' DecodeImage ends or hangs the process on bytes that are no image.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["PICTURE", "probe_picture", "takes_image_files"]

PICTURE = "a generated 640x480 JPEG"
"""What :func:`probe_picture` makes, for people."""

_SIZE = (640, 480)
_COARSE = (60, 80, 3)
_QUALITY = 90


def takes_image_files(value: ir.Value) -> bool:
    """Says whether an input is the content of a PNG or JPEG file."""
    return any(node.op_type == "DecodeImage" for node in value.consumers())


def probe_picture(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Returns the content of a JPEG file, uint8 [bytes]: smooth noise, about as photographs are."""
    coarse = Image.fromarray(rng.integers(0, 256, _COARSE, np.uint8))
    content = io.BytesIO()
    coarse.resize(_SIZE, Image.Resampling.BICUBIC).save(content, "JPEG", quality=_QUALITY)
    return np.frombuffer(content.getvalue(), np.uint8)
