"""Brings an image to the size of a model's input: stretch, crop, letterbox."""

from __future__ import annotations

from types import MappingProxyType

from PIL import Image

FILTERS = MappingProxyType(
    {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "nearest": Image.Resampling.NEAREST,
        "lanczos": Image.Resampling.LANCZOS,
        "area": Image.Resampling.BOX,
        "hamming": Image.Resampling.HAMMING,
    }
)


def stretch(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """Resizes to `size` (height, width), changing the aspect ratio."""
    height, width = size
    return image.resize((width, height), resample)


def crop(
    image: Image.Image, size: tuple[int, int], short_side: int, resample: Image.Resampling
) -> Image.Image:
    """Resizes the shorter side to `short_side`, then cuts `size` out of the centre.

    Args:
        image: Any image.
        size: Height and width of the result.
        short_side: Pixels of the shorter side before cutting; more where `size` would not fit.
        resample: Pillow's filter.

    Returns:
        The centre of the resized image.
    """
    height, width = size
    factor = short_side / min(image.size)
    factor = max(factor, width / image.width, height / image.height)
    resized = image.resize(
        (max(width, round(image.width * factor)), max(height, round(image.height * factor))),
        resample,
    )
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def letterbox(
    image: Image.Image, size: tuple[int, int], fill: int, resample: Image.Resampling
) -> Image.Image:
    """Resizes to fit inside `size`, keeping the aspect ratio, and fills the borders.

    Args:
        image: Any image.
        size: Height and width of the result.
        fill: Level of the borders in every channel, 0..255.
        resample: Pillow's filter.

    Returns:
        The image centred on a canvas of `size`.
    """
    height, width = size
    factor = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    canvas = Image.new(image.mode, (width, height), (fill,) * len(image.getbands()))
    canvas.paste(image.resize(inner, resample), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
