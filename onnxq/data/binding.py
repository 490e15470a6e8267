"""What a model's input settles about preprocessing: layout, channels, size, integer levels."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from onnxq.data.fit import shape_text
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxq.data.base import InputSpec

logger = logging.getLogger(__name__)

_IMAGE_RANKS = (3, 4)
_CHANNEL_COUNTS = (1, 3)
_MAX8 = 255


def bound_layout(layout: str, spec: InputSpec) -> str:
    """Returns "nchw" or "nhwc".

    Args:
        layout: The wish; "auto" looks where 1 or 3 channels stand, at C of NCHW first.
        spec: The input.

    Returns:
        The layout.

    Raises:
        DataError: The input is no image, or "auto" finds no channels.
    """
    if len(spec.shape) not in _IMAGE_RANKS:
        raise DataError(
            f"{_input_text(spec)} takes no images, which need [N, C, H, W] or [N, H, W, C];"
            " give ready inputs as .npz"
        )
    if layout != "auto":
        return layout
    for candidate, axis in (("nchw", -3), ("nhwc", -1)):
        if spec.shape[axis] in _CHANNEL_COUNTS:
            return candidate
    raise DataError(
        f"{_input_text(spec)} does not show where its channels are;"
        ' set layout = "nchw" or "nhwc" in a preprocessing TOML file'
    )


def bound_channels(channels: str, layout: str, spec: InputSpec, *, per_channel: bool) -> str:
    """Returns the channel order, "gray" where the input has one channel and nothing forbids it.

    Args:
        channels: The wish.
        layout: "nchw" or "nhwc".
        spec: The input.
        per_channel: Whether mean or std name a number for each of three channels.

    Returns:
        "rgb", "bgr" or "gray".

    Raises:
        DataError: The input takes another number of channels.
    """
    wanted = spec.shape[-3] if layout == "nchw" else spec.shape[-1]
    count = 1 if channels == "gray" else 3
    if wanted in (None, count):
        return channels
    if wanted == 1 and not per_channel:
        logger.info("%s has one channel: images are turned gray", _input_text(spec))
        return "gray"
    raise DataError(
        f"{_input_text(spec)} takes {wanted} channels, the preprocessing gives {count}"
        f" ({channels}); set channels, mean and std to match in a preprocessing TOML file"
    )


def bound_size(
    size: tuple[int, int] | None, layout: str, spec: InputSpec, *, needed: bool
) -> tuple[int, int] | None:
    """Returns height and width of the images.

    Args:
        size: The wish; None takes what the input fixes.
        layout: "nchw" or "nhwc".
        spec: The input.
        needed: Whether there must be a size (there is a resize rule).

    Returns:
        The size; None if not needed and the input leaves it symbolic.

    Raises:
        DataError: The input fixes another size, or leaves open a needed one.
    """
    height, width = spec.shape[-2:] if layout == "nchw" else spec.shape[-3:-1]
    if size is None:
        if height is not None and width is not None:
            return height, width
        if not needed:
            return None
        raise DataError(
            f"{_input_text(spec)} leaves height or width open; set size = [height, width], or"
            " resize = 'none' for images as they are, in a preprocessing TOML file"
        )
    if height not in (None, size[0]) or width not in (None, size[1]):
        raise DataError(
            f"{_input_text(spec)} does not take images of size [{size[0]}, {size[1]}];"
            " leave size out of the preprocessing to take the model's"
        )
    return size


def check_integer_input(
    spec: InputSpec, scale: float, mean: Sequence[float], std: Sequence[float]
) -> None:
    """Refuses normalisation that an integer input would round away or overflow.

    Args:
        spec: The input.
        scale: Factor on levels 0..255.
        mean: Subtracted after scaling.
        std: Divisor after that.

    Raises:
        DataError: The input is of an integer dtype and the result is not whole steps in its range.
    """
    dtype = np.dtype(spec.dtype)
    if dtype.kind not in "iu":
        return
    shift, divisor = np.broadcast_arrays(np.asarray(mean), np.asarray(std))
    ends = np.stack([-shift / divisor, (_MAX8 * scale - shift) / divisor])
    limits = np.iinfo(dtype)
    whole = bool(np.all(ends == np.rint(ends)) and np.all(np.abs(divisor) == abs(scale)))
    if not whole or ends.min() < limits.min or ends.max() > limits.max:
        raise DataError(
            f"{_input_text(spec)} is {dtype} and takes whole levels, but the preprocessing scales"
            " them; use --preprocess raw, or a TOML file without scale, mean and std"
        )


def _input_text(spec: InputSpec) -> str:
    return f"input '{spec.name}' {shape_text(spec.shape)}"
