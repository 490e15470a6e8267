"""Image files of every mode become upright 8-bit RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from onnxq.data.decode import check_header, load_rgb, to_rgb
from onnxq.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = np.array([[0, 60], [130, 255]], np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def repeated(levels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[list[list[int]]]:
    pixels: list[list[list[int]]] = np.repeat(levels[:, :, None], 3, axis=2).tolist()
    return pixels


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(LEVELS),
        Image.fromarray(LEVELS.astype(np.uint16) * 257),
        Image.fromarray(LEVELS.astype(np.int32) * 257),
        Image.fromarray(LEVELS.astype(np.float32)),
        Image.fromarray(LEVELS).convert("LA"),
        Image.fromarray(LEVELS).convert("P"),
    ],
    ids=["8-bit", "16-bit", "32-bit", "float", "alpha", "palette"],
)
def test_gray_of_any_depth_is_repeated(image: Image.Image) -> None:
    assert np.asarray(to_rgb(image)).tolist() == repeated(LEVELS)


def test_a_16_bit_png_keeps_its_range(tmp_path: Path) -> None:
    Image.fromarray(LEVELS.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.asarray(load_rgb(tmp_path / "a.png")).tolist() == repeated(LEVELS)


def test_one_bit_images_are_black_and_white() -> None:
    image = Image.fromarray(np.array([[False, True]]))
    assert np.asarray(to_rgb(image)).tolist() == [[[0] * 3, [255] * 3]]


def test_float_images_are_clipped() -> None:
    image = Image.fromarray(np.array([[-5.0, 300.0], [np.nan, 9.6]], np.float32))
    assert np.asarray(to_rgb(image))[:, :, 0].tolist() == [[0, 255], [0, 10]]


def test_alpha_is_dropped() -> None:
    rgba = np.dstack([COLOURS, np.full((6, 8), 7, np.uint8)])
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(rgba))), COLOURS)


def test_a_transparent_palette_gives_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=b"\x00\x80")
    assert np.asarray(load_rgb(tmp_path / "a.png")).tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_cmyk_is_converted() -> None:
    image = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
    assert to_rgb(image).getpixel((0, 0)) == (0, 255, 255)


def test_rgb_stays_as_it_is() -> None:
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(COLOURS))), COLOURS)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(COLOURS, -1)
    assert np.array_equal(np.asarray(load_rgb(tmp_path / "a.png")), upright)


def test_broken_exif_leaves_the_pixels(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=b"Exif\x00\x00rubbish")
    assert np.array_equal(np.asarray(load_rgb(tmp_path / "a.png")), COLOURS)


def test_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert load_rgb(tmp_path / "a.gif").getpixel((0, 0)) == (10, 10, 10)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif", "tif"])
def test_common_formats_decode(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (5, 4), (128, 128, 128)).save(tmp_path / f"a.{suffix}")
    check_header(tmp_path / f"a.{suffix}")
    image = load_rgb(tmp_path / f"a.{suffix}")
    assert (image.mode, image.size) == ("RGB", (5, 4))


@pytest.mark.parametrize("content", [b"", b"hello"], ids=["empty", "text"])
def test_what_is_no_image_is_refused_by_its_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"^not an image that Pillow can read$"):
        check_header(tmp_path / "a.jpg")


def test_a_missing_file_gives_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^No such file or directory$"):
        check_header(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_a_truncated_file_passes_the_header_and_fails_to_decode(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError):
        load_rgb(path)


def test_an_image_too_large_to_decode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="exceeds limit"):
        check_header(tmp_path / "a.png")
