"""``--format integer`` on whole models: proven, the same bits everywhere, close to the QDQ form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import onnxq
from onnxq import reference
from onnxq.data.calibration import CalibrationData
from onnxq.errors import ConfigError
from onnxq.graph.io import load
from onnxq.graph.spec_integer import prove_integer
from onnxq.runtime.session import make_session
from tests.support import run
from tools.models.testset import MODELS, pictures_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Feeds = list[dict[str, npt.NDArray[Any]]]

CLASSIFIER = "digits_mobilenetv2"


def pictures(name: str, count: int) -> Feeds:
    config = onnxq.Config(samples=count, preprocess=str(MODELS / f"{name}.toml"))
    folder = pictures_of(name) / "calibration"
    data = CalibrationData.open(folder, load(MODELS / f"{name}.onnx"), config)
    return [dict(feed) for feed in data.spread(count)]


@pytest.mark.slow
def test_the_shipped_classifier(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    made: dict[str, Path] = {}
    for form in ("integer", "qdq"):
        path = tmp_path / f"{form}.onnx"
        onnxq.optimize(
            MODELS / f"{CLASSIFIER}.onnx",
            data=pictures_of(CLASSIFIER) / "calibration",
            preprocess=MODELS / f"{CLASSIFIER}.toml",
            target="integer",
            format=form,
            output=path,
            save_plan=plan if form == "integer" else None,
            plan=plan if form == "qdq" else None,
            threads=1,
        )
        made[form] = path
    model = load(made["integer"])
    assert prove_integer(model).violations == ()
    feeds = pictures(CLASSIFIER, 16)
    _assert_same_bits(made["integer"], feeds)
    integer, qdq = ([run(made[f].read_bytes(), x, "all")["logits"] for x in feeds] for f in made)
    agreement = np.mean([a.argmax() == b.argmax() for a, b in zip(integer, qdq, strict=True)])
    assert agreement >= 0.99
    noise = np.square(np.subtract(integer, qdq)).sum()
    assert 10 * np.log10(np.square(qdq).sum() / noise) > 25


def _assert_same_bits(path: Path, feeds: Feeds) -> None:
    """Every value, over optimization levels and threads, and in the reference."""
    model = load(path)
    inner = [str(out.name) for node in model.graph for out in node.outputs]
    plain = make_session(model, optimize=False, outputs=inner)
    others = [make_session(model, threads=threads, outputs=inner) for threads in (1, 2)]
    for feed in feeds:
        wanted = plain.run(feed)
        for name, array in reference.run(path, feed, every_value=True).items():
            np.testing.assert_array_equal(array, wanted[name], err_msg=name)
        for other in others:
            for name, array in other.run(feed).items():
                np.testing.assert_array_equal(array, wanted[name], err_msg=name)
    for level in ("basic", "extended", "all"):
        found = run(path.read_bytes(), feeds[0], level)["logits"]
        np.testing.assert_array_equal(found, run(path.read_bytes(), feeds[0])["logits"])


def test_without_data_there_are_no_ranges(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--format integer needs --data"):
        onnxq.optimize(MODELS / f"{CLASSIFIER}.onnx", format="integer", output=tmp_path / "x.onnx")
