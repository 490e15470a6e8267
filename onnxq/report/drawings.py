"""Detections of two models drawn side by side on the pictures that they were compared on.

Pictures are shown as the model sees them: resized, cut or with borders. Numbers of boxes become
pixels by these rules:

1. If no box of the float model reaches beyond 1.5, they are shares of the picture's size.
2. Shares in outputs of their own, finished by the model, are (top, left, bottom, right), as
   TensorFlow writes them; all else is (left, top, right, bottom).
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.atomic import pending_file
from onnxq.errors import ConfigError, OutputError
from onnxq.report.draw_boxes import Side, side_by_side
from onnxq.runtime.session import make_session
from onnxq.tasks.detection import shown_boxes, shown_pairs
from onnxq.tasks.end_to_end import LABELS, FinishedBoxes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import onnx_ir as ir
    from PIL import Image

    from onnxq.data.base import DataSource
    from onnxq.runtime.session import Session
    from onnxq.tasks.base import Task
    from onnxq.tasks.boxes import Detections
    from onnxq.tasks.head import Reader

__all__ = ["MOST_PICTURES", "Drawings", "DrawnPair", "drawn_pairs"]

MOST_PICTURES = 50
"""Samples that are drawn at most, the first of those that are compared."""

_SHARE = 1.5


@dataclass(frozen=True)
class _Found:
    """What both models find in one picture of a sample."""

    sample: int
    place: int
    left: Detections
    right: Detections


class DrawnPair(NamedTuple):
    """What two models find in one picture, side by side.

    Attributes:
        name: The picture's.
        image: The drawing.
        boxes: How many each model finds.
        alone: How many of all these the other model does not find.
    """

    name: str
    image: Image.Image
    boxes: tuple[int, int]
    alone: int


class Drawings:
    """Draws what two detectors find, a file for every picture."""

    def __init__(
        self,
        folder: Path,
        task: Task,
        source: DataSource,
        numbers: Sequence[int],
        given: Iterable[Path] = (),
    ) -> None:
        """Finds out whether there is something to draw, and a place for it, leaving no trace.

        Args:
            folder: Where the files go; made if it does not exist.
            task: The float model's.
            source: Where samples come from.
            numbers: Those to draw.
            given: Files and folders that the user gave: nothing is drawn into them.

        Raises:
            ConfigError: The model is no detector with boxes, or the samples are no pictures.
            OutputError: The folder is a file, is in the data, or cannot be written to.
        """
        if task.reader is None or not task.reader.decoded:
            named = "" if task.reader else ", or name outputs with --boxes and --scores"
            raise ConfigError(
                "--draw needs a detector whose boxes can be decoded, which this is not ("
                f"{task.description}); leave it out{named}"
            )
        self._reader, self._source, self._folder = task.reader, source, folder
        self._numbers = numbers[:MOST_PICTURES]
        if not any(source.pictures(number) for number in self._numbers):
            raise ConfigError(
                "--draw needs images as data, and these are ready inputs "
                f"({source.describe()}); give image files, or leave it out"
            )
        _check_folder(folder, given)

    def write(
        self, real: ir.Model, second: ir.Model, names: tuple[str, str], *, threads: int = 1
    ) -> tuple[Path, ...]:
        """Runs both models, with all of onnxruntime's optimizations, and draws what they find.

        Args:
            real: The float model.
            second: The other one.
            names: What they are called.
            threads: Threads inside an operator.

        Returns:
            The files, in the order of the samples.

        Raises:
            OutputError: A file cannot be written.
        """
        pictures = drawn_pairs(
            self._reader, self._source, self._numbers, (real, second), names, threads=threads
        )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from None
        files = []
        for number, pair in enumerate(pictures, 1):
            files.append(self._folder / f"{number:03d}-{pair.name}.png")
            _save(pair.image, files[-1])
        return tuple(files)


def drawn_pairs(  # noqa: PLR0913 (two of the six are pairs of one kind)
    reader: Reader,
    source: DataSource,
    numbers: Sequence[int],
    models: tuple[ir.Model, ir.Model],
    names: tuple[str, str],
    *,
    threads: int = 1,
) -> Iterator[DrawnPair]:
    """Runs both models, with all of onnxruntime's optimizations, and draws what they find.

    Args:
        reader: Of the float model's outputs, with boxes that can be decoded.
        source: Where samples come from.
        numbers: Those to draw; those that are no pictures are left out.
        models: The float model and the other one.
        names: What they are called.
        threads: Threads inside an operator.

    Yields:
        A drawing for every picture, in order.
    """
    sessions = [make_session(model, threads=threads) for model in models]
    found = list(_found(reader, source, numbers, sessions))
    shares = all(_shares(one.left) for one in found)
    turned = shares and isinstance(reader, FinishedBoxes)
    for one in found:
        picture = source.pictures(one.sample)[one.place]
        size = picture.levels.shape
        left, right = (_pixels(d, size, shares, turned) for d in (one.left, one.right))
        sides = _sides(names, left, right)
        alone = sum(len(side.detections.scores) - len(side.matched) for side in sides)
        boxes = len(left.scores), len(right.scores)
        yield DrawnPair(picture.name, side_by_side(picture.levels, *sides), boxes, alone)


def _found(
    reader: Reader, source: DataSource, numbers: Sequence[int], sessions: Sequence[Session]
) -> Iterator[_Found]:
    for number in numbers:
        count = len(source.pictures(number))
        if not count:
            continue
        (feed,) = source.feeds([number])
        sides = [_boxes(reader, session.run(feed)) for session in sessions]
        # Rows of several pictures that the model numbers itself stand in one list.
        if len(sides[0]) == len(sides[1]) == count:
            yield from (_Found(number, i, sides[0][i], sides[1][i]) for i in range(count))


def _sides(names: tuple[str, str], left: Detections, right: Detections) -> tuple[Side, Side]:
    pairs = shown_pairs(left, right)
    return (
        Side(names[0], left, frozenset(mine for mine, _ in pairs)),
        Side(names[1], right, frozenset(other for _, other in pairs)),
    )


def _save(image: Image.Image, file: Path) -> None:
    content = io.BytesIO()
    image.save(content, "PNG")
    with pending_file(file, "drawing") as pending:
        pending.write_bytes(content.getvalue())


def _boxes(reader: Reader, outputs: dict[str, np.ndarray]) -> list[Detections]:
    return [replace(d, labels=d.labels % LABELS) for d in shown_boxes(reader, outputs)]


def _shares(found: Detections) -> bool:
    """Rule 1, for one picture."""
    return not found.boxes.size or float(np.abs(found.boxes).max()) <= _SHARE


def _pixels(found: Detections, shape: tuple[int, ...], shares: bool, turned: bool) -> Detections:
    """Returns the boxes in pixels of a picture [height, width, 3]."""
    boxes = found.boxes[:, [1, 0, 3, 2]] if turned else found.boxes
    if shares:
        height, width = shape[:2]
        boxes = boxes * np.array([width, height, width, height], np.float32)
    return replace(found, boxes=boxes)


def _check_folder(folder: Path, given: Iterable[Path]) -> None:
    target = Path(os.path.realpath(folder))
    if target.exists() and not target.is_dir():
        raise OutputError(f"--draw {folder}: is a file; name a folder")
    for path in map(os.path.realpath, given):
        if os.path.isdir(path) and target.is_relative_to(path):
            raise OutputError(
                f"--draw {folder}: lies in the data, which would then hold the drawings; name "
                "another folder"
            )
    there = next(path for path in (target, *target.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"--draw {folder}: cannot be written to; name another folder")


def _unwritable(folder: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"--draw {folder}: cannot be made ({reason}); name another folder")
