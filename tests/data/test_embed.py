"""A model with its preprocessing in front gives what the two give one after the other."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from onnxq.data.embed import embed_preprocess, embeddable
from onnxq.data.preprocess import Preprocess
from onnxq.data.preprocessor import Preprocessor
from onnxq.data.presets import PRESETS
from onnxq.errors import ConfigError
from onnxq.graph.io import fingerprint
from onnxq.runtime.session import make_session
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

RNG = np.random.default_rng(0)


def network(shape: str = "N,3,16,20", dtype: str = "float") -> ir.Model:
    return build(
        f"""f ({dtype}[{shape}] image, float[4,3,3,3] w) => (float[N,4,C,D] y) {{
            x = Cast<to = 1>(image)
            y = Conv(x, w) }}""",
        w=rng_weight(4, 3, 3, 3),
    )


def picture(width: int = 47, height: int = 31) -> Image.Image:
    levels = RNG.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG") -> npt.NDArray[np.uint8]:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def both_ways(
    model: ir.Model,
    preprocess: Preprocess,
    image: Image.Image,
    **session: Any,  # noqa: ANN401
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    bound = embeddable(model, preprocess)
    whole = make_session(embed_preprocess(model, bound), **session)
    ready = Preprocessor(bound)(image)[None]
    wanted = make_session(model, **session).run({"image": ready})["y"]
    return whole.run({whole.inputs[0]: encoded(image)})["y"], wanted


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "optimized"])
def test_bytes_give_what_ready_inputs_give(preset: str, optimize: bool) -> None:
    found, wanted = both_ways(network(), PRESETS[preset], picture(), optimize=optimize)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["lanczos", "area", "nearest", "bicubic"])
def test_other_filters_too(name: str) -> None:
    rule = Preprocess(resize="letterbox", filter=name, channels="bgr", mean=(3.0,), std=(50.0,))
    found, wanted = both_ways(network(), rule, picture())
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_gray_and_transparent_images_are_taken(mode: str) -> None:
    found, wanted = both_ways(network(), PRESETS["raw"], picture().convert(mode))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)


def test_jpeg_files_are_decoded_too() -> None:
    model = network()
    whole = make_session(embed_preprocess(model, embeddable(model, PRESETS["raw"])))
    plain = Image.new("RGB", (24, 18), (200, 30, 90))
    found = [whole.run({whole.inputs[0]: encoded(plain, form)})["y"] for form in ("PNG", "JPEG")]
    np.testing.assert_allclose(found[0], found[1], atol=0.05 * np.abs(found[0]).max())


def test_an_integer_input_gets_whole_levels() -> None:
    model = network(dtype="uint8")
    whole = make_session(embed_preprocess(model, embeddable(model, PRESETS["raw"])))
    image = picture(20, 16)
    wanted = make_session(model).run({"image": np.asarray(image).transpose(2, 0, 1)[None]})["y"]
    np.testing.assert_allclose(
        whole.run({whole.inputs[0]: encoded(image)})["y"], wanted, rtol=1e-5, atol=1e-3
    )


def test_the_model_given_stays_and_no_name_is_taken_twice() -> None:
    model = network()
    before = fingerprint(model)
    whole = embed_preprocess(model, embeddable(model, PRESETS["yolo"]))
    assert fingerprint(model) == before
    names = [value.name for node in whole.graph for value in node.outputs]
    names += [value.name for value in (*whole.graph.inputs, *whole.graph.initializers.values())]
    assert len(names) == len(set(names))
    assert all(node.name for node in whole.graph)


def test_a_model_with_two_inputs_is_refused() -> None:
    model = build("f (float[1,3,4,4] a, float[1,3,4,4] b) => (float[1,3,4,4] y) { y = Add(a, b) }")
    with pytest.raises(ConfigError, match="one input, this one has 2"):
        embeddable(model, PRESETS["raw"])


def test_a_fixed_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch of 1"):
        embeddable(network("8,3,16,20"), PRESETS["raw"])
