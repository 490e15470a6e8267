"""The pictures shipped in `models/`: where they lie, how they are stored and prepared."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

MODELS = Path(__file__).resolve().parents[2] / "models"
SHARED = {"digits_vit": "digits_mobilenetv2"}
"""Models that take the pictures of another one."""
SHEET_COLUMNS = 40
QUALITY = 88


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a preprocessing file does to a pixel: (pixel * scale - mean) / std."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Map uint8 [n, h, w, 3] to float32 [n, 3, h, w]."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        scaled = (pictures.astype(np.float32) * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def load_recipe(path: Path) -> Recipe:
    """Read the numbers of a preprocessing TOML; pictures here already have the model's size."""
    table = tomllib.loads(path.read_text())
    return Recipe(table["scale"], tuple(table["mean"]), tuple(table["std"]))


def pictures_of(name: str) -> Path:
    """Return the folder that holds `calibration/` and `test/` of a shipped model."""
    return MODELS / SHARED.get(name, name)


def save_sheet(
    folder: Path, pictures: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> None:
    """Store square pictures as one JPEG, `sheet.jpg`, and their classes as `labels.json`.

    Neighbours do not bleed: the side is a multiple of 8, a JPEG block, and colour is kept at full
    resolution.
    """
    count, size = pictures.shape[:2]
    rows = -(-count // SHEET_COLUMNS)
    tiles = np.zeros((rows * SHEET_COLUMNS, size, size, 3), np.uint8)
    tiles[:count] = pictures
    sheet = tiles.reshape(rows, SHEET_COLUMNS, size, size, 3).transpose(0, 2, 1, 3, 4)
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(sheet.reshape(rows * size, SHEET_COLUMNS * size, 3))
    image.save(folder / "sheet.jpg", quality=QUALITY, subsampling=0)
    (folder / "labels.json").write_text(
        json.dumps({"size": size, "labels": labels.tolist()}) + "\n"
    )


def load_sheet(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read a contact sheet back: pictures uint8 [n, size, size, 3] and classes int64 [n]."""
    stored = json.loads((folder / "labels.json").read_text())
    size, labels = stored["size"], np.array(stored["labels"], np.int64)
    sheet = load_picture(folder / "sheet.jpg")
    tiles = sheet.reshape(-1, size, SHEET_COLUMNS, size, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiles.reshape(-1, size, size, 3)[: len(labels)]), labels


@dataclasses.dataclass(frozen=True)
class Annotated:
    """Pictures with boxes.

    Attributes:
        pictures: uint8 [n, size, size, 3].
        boxes: (left, top, right, bottom) in pixels, float32 [m, 4] a picture.
        labels: Classes, int64 [m] a picture.
    """

    pictures: npt.NDArray[np.uint8]
    boxes: list[npt.NDArray[np.float32]]
    labels: list[npt.NDArray[np.int64]]


def save_coco(folder: Path, scenes: Annotated) -> None:
    """Store pictures as JPEG files and their boxes as `annotations.json` in COCO's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = scenes.pictures.shape[1:3]
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, picture in enumerate(scenes.pictures):
        name = f"{index:04d}.jpg"
        save_jpeg(folder / name, picture)
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        for (x1, y1, x2, y2), label in zip(
            scenes.boxes[index].tolist(), scenes.labels[index].tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": label, "name": str(label)} for label in range(10)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document) + "\n")


def load_coco(folder: Path) -> Annotated:
    """Read what `save_coco` wrote."""
    document = json.loads((folder / "annotations.json").read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    boxes: dict[int, list[list[float]]] = {index: [] for index in names}
    labels: dict[int, list[int]] = {index: [] for index in names}
    for row in document["annotations"]:
        x, y, width, height = row["bbox"]
        boxes[row["image_id"]].append([x, y, x + width, y + height])
        labels[row["image_id"]].append(row["category_id"])
    return Annotated(
        np.stack([load_picture(folder / names[index]) for index in names]),
        [np.array(boxes[index], np.float32).reshape(-1, 4) for index in names],
        [np.array(labels[index], np.int64) for index in names],
    )


def save_jpeg(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write uint8 [h, w, 3] as JPEG."""
    Image.fromarray(picture).save(path, quality=QUALITY)


def load_picture(path: Path) -> npt.NDArray[np.uint8]:
    """Decode a picture to uint8 [h, w, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
