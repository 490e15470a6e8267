"""How an image becomes a model's input: resize, channel order, (x * scale - mean) / std, layout."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxq.data.binding import bound_channels, bound_layout, bound_size, check_integer_input
from onnxq.data.resize_graph import FILTERS
from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from onnxq.data.base import InputSpec

CHOICES = {
    "resize": ("stretch", "crop", "letterbox", "none"),
    "filter": FILTERS,
    "channels": ("rgb", "bgr", "gray"),
    "layout": ("auto", "nchw", "nhwc"),
}
_CROP_SHARE = 0.875
_MAX8 = 255


@dataclass(frozen=True)
class Preprocess:
    """The way from a decoded image to a model's input.

    Attributes:
        resize: "stretch" ignores the aspect ratio; "crop" resizes the shorter side to
            `short_side` and cuts the centre; "letterbox" fits the image inside and fills the
            borders; "none" takes images as they are.
        size: Height and width in pixels; None takes them from the model's input.
        short_side: For "crop"; None means the shorter side of `size` / 0.875.
        filter: Resampling filter; all but "nearest" average over the pixels that they shrink.
        fill: Level of letterbox borders, 0..255.
        channels: Order of the channels, or "gray" for one.
        scale: Factor on pixel levels 0..255.
        mean: Subtracted after scaling; one number or one per channel, in the order of `channels`.
        std: Divisor after that; one number or one per channel.
        layout: "nchw", "nhwc", or "auto" for what the model's input shows.
    """

    resize: str = "stretch"
    size: tuple[int, int] | None = None
    short_side: int | None = None
    filter: str = "bilinear"
    fill: int = 114
    channels: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "auto"

    def __post_init__(self) -> None:
        """Refuses values that make no sense.

        Raises:
            ConfigError: Names the field, its value and the valid ones.
        """
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise ConfigError(
                    f"preprocess: {field} = {getattr(self, field)!r} is unknown;"
                    f" choose one of {', '.join(choices)}"
                )
        if self.size is not None and min(self.size) < 1:
            raise ConfigError(f"preprocess: size = {list(self.size)} must be positive")
        if not 0 <= self.fill <= _MAX8:
            raise ConfigError(f"preprocess: fill = {self.fill} must lie in 0..255")
        self._check_short_side()
        self._check_numbers()

    def _check_short_side(self) -> None:
        least = min(self.size) if self.size else 1
        if self.short_side is not None and self.short_side < least:
            raise ConfigError(f"preprocess: short_side = {self.short_side} must be {least} or more")

    def _check_numbers(self) -> None:
        count = 1 if self.channels == "gray" else 3
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, count):
                raise ConfigError(
                    f"preprocess: {field} has {len(values)} numbers, channels = '{self.channels}'"
                    f" takes {'one' if count == 1 else f'one or {count}'}"
                )
        numbers = (self.scale, *self.mean, *self.std)
        if not all(map(math.isfinite, numbers)) or self.scale == 0 or 0 in self.std:
            raise ConfigError(
                "preprocess: scale, mean and std must be finite, scale and std not zero"
            )

    def for_input(self, spec: InputSpec) -> Preprocess:
        """Fills in what is left to the model: size, layout, gray for a single channel.

        Args:
            spec: Input that takes the image, [N, C, H, W] or [N, H, W, C], possibly without N.

        Returns:
            A copy with layout "nchw" or "nhwc" and, unless `resize` is "none", a size.

        Raises:
            DataError: The input cannot take an image made this way.
        """
        layout = bound_layout(self.layout, spec)
        per_channel = max(len(self.mean), len(self.std)) > 1
        channels = bound_channels(self.channels, layout, spec, per_channel=per_channel)
        size = bound_size(self.size, layout, spec, needed=self.resize != "none")
        check_integer_input(spec, self.scale, self.mean, self.std)
        return replace(self, layout=layout, channels=channels, size=size)

    def check_bound(self) -> None:
        """Makes sure that nothing is left to the model.

        Raises:
            ConfigError: `layout` is "auto" or `size` is missing; see `for_input`.
        """
        if self.layout == "auto":
            raise ConfigError("preprocess: layout = 'auto' needs a model's input; bind it first")
        if self.size is None and self.resize != "none":
            raise ConfigError("preprocess: no size is given; set size = [height, width]")

    @property
    def shorter_side(self) -> int:
        """Pixels of the shorter side before "crop" cuts; 0 where neither it nor a size is known."""
        return self.short_side or round(min(self.size or (0, 0)) / _CROP_SHARE)

    def describe(self) -> str:
        """One line: `crop 224x224 (shorter side 256, bilinear), rgb, x/255, nchw`."""
        details = [self.filter]
        if self.resize == "crop" and (self.size or self.short_side):
            details.insert(0, f"shorter side {self.shorter_side}")
        if self.resize == "letterbox":
            details.insert(0, f"fill {self.fill}")
        resize = "no resize"
        if self.resize != "none":
            resize = f"{self.resize} to {_by(self.size)} ({', '.join(details)})"
        return f"{resize}, {self.channels}, {self._formula()}, layout {self.layout}"

    def _formula(self) -> str:
        inverse = 1 / self.scale
        text = f"x/{inverse:g}" if abs(inverse) > 1 else f"x*{self.scale:g}"
        text = "x" if self.scale == 1 else text
        if any(self.mean):
            text = f"{text} - {_numbers(self.mean)}"
        if any(value != 1 for value in self.std):
            text = f"({text}) / {_numbers(self.std)}"
        return text


def _by(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else "the model's input"


def _numbers(values: tuple[float, ...]) -> str:
    listed = ", ".join(f"{value:g}" for value in values)
    return listed if len(values) == 1 else f"[{listed}]"
