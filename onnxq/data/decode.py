"""Decodes image files to 8-bit RGB with Pillow, the way training pipelines see them."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from onnxq.data.reason import reason_of
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on

_MAX8 = 255
_MAX16 = 65535


def check_header(path: Path) -> None:
    """Reads only the header of an image file.

    Args:
        path: The file.

    Raises:
        DataError: The file is no image that Pillow knows; the message is the bare reason.
    """
    with _decoding(), Image.open(path):
        pass


def load_rgb(path: Path) -> Image.Image:
    """Decodes an image file; of several frames, the first.

    Args:
        path: The file.

    Returns:
        The image in mode RGB, upright (see `to_rgb`).

    Raises:
        DataError: The file cannot be decoded; the message is the bare reason.
    """
    with _decoding(), Image.open(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Brings an image of any mode to 8-bit RGB.

    Turns it upright by its EXIF orientation; gray is repeated, palettes are looked up, CMYK is
    converted, 16 bits are scaled to 8, alpha is dropped as the usual loaders do.

    Args:
        image: Any image.

    Returns:
        The image in mode RGB.
    """
    image.load()
    # Broken EXIF data says nothing about the pixels, so the image is then taken as it lies.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.float64) * (_MAX8 / _MAX16)
        image = _from_levels(deep)
    elif image.mode == "F":
        image = _from_levels(np.asarray(image, np.float64))
    elif image.mode in ("P", "PA", "RGBa"):
        image = image.convert("RGBA")
    return image.convert("RGB")


def _from_levels(levels: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(np.nan_to_num(levels), 0, _MAX8)).astype(np.uint8))


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    """Turns whatever a decoder does with hostile bytes into a DataError with the reason alone.

    Pillow's plugins raise anything from SyntaxError to struct.error, and warn about files that
    they still decode.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnidentifiedImageError:
        raise DataError("not an image that Pillow can read") from None
    except Exception as error:
        raise DataError(reason_of(error)) from error
