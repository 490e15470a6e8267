"""Two models' detections on one picture, side by side.

1. A box that the other model finds as well is green; one that it does not find is red, of double
   width, with "!" in front of its class.
2. Beside a box stand its class number and its score.
3. Small pictures are enlarged by a whole number, so that the numbers can be read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.boxes import Detections

__all__ = ["Side", "side_by_side"]

_LEAST_WIDTH = 480
_HEAD = 16
_GAP = 8
_LINE = 2
_FOUND, _MISSED = (0, 200, 83), (255, 23, 68)
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


class Side(NamedTuple):
    """What one model finds in a picture.

    Attributes:
        name: What the model is called.
        detections: Its boxes as (left, top, right, bottom) in pixels.
        matched: Positions of those that the other model finds as well.
    """

    name: str
    detections: Detections
    matched: frozenset[int]


def side_by_side(levels: npt.NDArray[np.uint8], left: Side, right: Side) -> Image.Image:
    """Draws the picture twice, with one model's boxes on each.

    Args:
        levels: The picture, uint8 [height, width, 3], RGB.
        left: The float model's side.
        right: The other one's.

    Returns:
        Both beside each other under their names.
    """
    panels = [_panel(levels, side) for side in (left, right)]
    width, height = panels[0].size
    sheet = Image.new("RGB", (2 * width + _GAP, height), _PAPER)
    for place, panel in enumerate(panels):
        sheet.paste(panel, (place * (width + _GAP), 0))
    return sheet


def _panel(levels: npt.NDArray[np.uint8], side: Side) -> Image.Image:
    height, width = levels.shape[:2]
    factor = max(1, math.ceil(_LEAST_WIDTH / width))
    picture = Image.fromarray(levels).resize((width * factor, height * factor))
    draw = ImageDraw.Draw(picture)
    # The best last, so that no other box covers its numbers.
    for place in reversed(range(len(side.detections.scores))):
        _box(draw, picture.size, side, place, factor)
    panel = Image.new("RGB", (picture.width, picture.height + _HEAD), _PAPER)
    panel.paste(picture, (0, _HEAD))
    ImageDraw.Draw(panel).text((2, 2), _plain(_head(side)), _INK, ImageFont.load_default())
    return panel


def _head(side: Side) -> str:
    count, alone = len(side.detections.scores), len(side.detections.scores) - len(side.matched)
    boxes = "1 box" if count == 1 else f"{count} boxes"
    return f"{side.name}: {boxes}" + (f", {alone} of them alone" if alone else "")


def _plain(text: str) -> str:
    """Letters that the built-in font lacks, as in names of files, must not stop the drawing."""
    return text.encode("ascii", "replace").decode()


def _box(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], side: Side, place: int, factor: int
) -> None:
    found, right, bottom = side.detections, size[0] - 1, size[1] - 1
    corners = np.clip(found.boxes[place] * factor, 0, [right, bottom, right, bottom])
    x0, y0, x1, y1 = (float(number) for number in corners)
    if x1 < x0 or y1 < y0:
        return
    sure = place in side.matched
    colour = _FOUND if sure else _MISSED
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=_LINE if sure else 2 * _LINE)
    text = f"{'' if sure else '! '}{int(found.labels[place])} {float(found.scores[place]):.2f}"
    font = ImageFont.load_default()
    left, top, far, low = draw.textbbox((0, 0), text, font)
    at = (x0, max(0.0, y0 - (low + 2)))
    draw.rectangle((at[0] + left, at[1] + top, at[0] + far + 1, at[1] + low + 1), fill=colour)
    draw.text(at, text, _INK, font)
