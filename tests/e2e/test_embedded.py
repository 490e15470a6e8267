"""Models that take encoded images: made by the command, and given to it."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import onnxq
from onnxq.data.embed import embed_preprocess, embeddable
from onnxq.data.preprocess import Preprocess
from onnxq.errors import ConfigError, DataError
from onnxq.graph.io import save
from onnxq.runtime.session import make_session
from tests.e2e.networks import classifier, images, integer_heavy

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

RULE = Preprocess(scale=1 / 64, mean=(2.0,))
TOML = "resize = 'stretch'\nscale = 0.015625\nmean = 2.0\n"


def pictures(count: int = 16) -> list[Image.Image]:
    levels = np.clip((images(count) + 2) * 64, 0, 255).astype(np.uint8)
    return [Image.fromarray(array.transpose(1, 2, 0)).resize((20, 24)) for array in levels]


def encoded(picture: Image.Image) -> npt.NDArray[np.uint8]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / "images" / f"{number:02}.png")
    (tmp_path / "rule.toml").write_text(TOML)
    return tmp_path


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "optimized"])
def test_the_embedded_model_gives_what_the_other_gives(folder: Path, *, optimize: bool) -> None:
    options = {"preprocess": folder / "rule.toml", "threads": 1}
    plain = onnxq.optimize(classifier(), folder / "images", **options)  # type: ignore[arg-type]
    whole = onnxq.optimize(
        classifier(),
        folder / "images",
        embed_preprocess=True,
        **options,  # type: ignore[arg-type]
    )
    assert whole.fidelity.sqnr == plain.fidelity.sqnr
    assert integer_heavy(whole.model) == integer_heavy(plain.model) > 0
    source = embeddable(classifier(), RULE)
    by_hand = make_session(embed_preprocess(plain.model, source), optimize=optimize)
    session = make_session(whole.model, optimize=optimize)
    for picture in pictures(3):
        feed = {session.inputs[0]: encoded(picture)}
        np.testing.assert_array_equal(session.run(feed)["y"], by_hand.run(feed)["y"])


def test_a_decode_front_that_is_there_stays_untouched() -> None:
    front = embed_preprocess(classifier(batch="1"), embeddable(classifier(batch="1"), RULE))
    data = [{str(front.graph.inputs[0].name): encoded(picture)} for picture in pictures()]
    made = onnxq.optimize(front, data, threads=1)
    assert integer_heavy(made.model) == 2
    kept = [node.op_type for node in made.model.graph if node.op_type in ("DecodeImage", "Resize")]
    assert kept == ["DecodeImage", "Resize"]
    sessions = [make_session(model) for model in (front, made.model)]
    wanted, found = (session.run(data[0])["y"] for session in sessions)
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_embedding_without_a_preprocessing_is_refused() -> None:
    with pytest.raises(ConfigError, match="give --preprocess"):
        onnxq.optimize(classifier(), {"x": images()}, embed_preprocess=True)


def test_a_model_that_tells_its_preprocessing_needs_no_option(folder: Path) -> None:
    source = classifier()
    source.metadata_props.update({"names": "{0: 'a'}", "stride": "8"})
    made = onnxq.optimize(source, folder / "images", embed_preprocess=True, threads=1)
    assert made.model.graph.inputs[0].name == "image"
    assert "Pad" in {node.op_type for node in made.model.graph}


def test_ready_arrays_calibrate_a_model_that_will_take_files(folder: Path) -> None:
    rule = folder / "rule.toml"
    ready = onnxq.optimize(classifier(), {"x": images()}, threads=1)

    made = onnxq.optimize(
        classifier(), {"x": images()}, embed_preprocess=True, preprocess=rule, threads=1
    )

    assert made.model.graph.inputs[0].name == "image"
    assert made.fidelity == ready.fidelity
    with pytest.raises(DataError, match="--preprocess does not apply"):
        onnxq.optimize(classifier(), {"x": images()}, preprocess=rule)


def test_decoding_that_is_not_installed_is_told_before_the_work(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)
    stages: list[str] = []

    with pytest.raises(ConfigError, match="--embed-preprocess needs the package onnxruntime-ext"):
        onnxq.optimize(
            classifier(),
            {"x": images()},
            embed_preprocess=True,
            preprocess=folder / "rule.toml",
            progress=lambda stage, *_: stages.append(stage),
        )

    assert stages == []


def test_a_benchmark_and_an_inspection_make_a_picture_themselves(tmp_path: Path) -> None:
    front = embed_preprocess(classifier(batch="1"), embeddable(classifier(batch="1"), RULE))
    save(front, tmp_path / "front.onnx")

    found = onnxq.bench(tmp_path / "front.onnx", seconds=0.01)

    assert found.data == "a generated 640x480 JPEG, seed 0"
    assert found.models[0].inputs["image"].startswith("uint8[")
    assert onnxq.inspect(tmp_path / "front.onnx").fed["image"].startswith("uint8[")
