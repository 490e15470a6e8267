from __future__ import annotations

import io

import numpy as np
from PIL import Image

from onnxq.runtime.probe import probe_feed
from onnxq.runtime.probe_picture import probe_picture, takes_image_files
from tests.support import model

FRONT = """<ir_version: 10, opset_import: ["": 21, "com.microsoft.extensions": 1]>
    f (uint8[bytes] image, uint8[N] other) => (uint8[h,w,c] y, uint8[N] z) {
        y = com.microsoft.extensions.DecodeImage (image)
        z = Identity (other) }"""


def test_it_is_an_image_file_with_something_on_it() -> None:
    content = probe_picture(np.random.default_rng(0))

    with Image.open(io.BytesIO(content.tobytes())) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (640, 480), "RGB")
        assert np.asarray(image).std() > 20


def test_the_seed_decides() -> None:
    first, again, other = (probe_picture(np.random.default_rng(seed)) for seed in (0, 0, 1))

    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_only_what_is_decoded_takes_image_files() -> None:
    image, other = model(FRONT).graph.inputs

    assert takes_image_files(image)
    assert not takes_image_files(other)


def test_a_probe_feeds_a_picture_to_what_decodes_one() -> None:
    feed = probe_feed(model(FRONT), seed=3)

    assert feed["image"][:2].tobytes() == b"\xff\xd8"
    assert feed["other"].shape == (1,)
