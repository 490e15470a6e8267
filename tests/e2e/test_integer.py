"""``--format integer`` on whole models: proven, the same bits everywhere, close to the QDQ form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import onnxq
from onnxq import reference
from onnxq.data.calibration import CalibrationData
from onnxq.errors import ConfigError
from onnxq.graph.integer_io import KEY
from onnxq.graph.io import load
from onnxq.graph.spec_integer import prove_integer
from onnxq.runtime.session import make_session
from tests.support import run
from tools.models.testset import MODELS, pictures_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from tests.support import Level

    Feeds = list[dict[str, npt.NDArray[Any]]]

LEVELS: tuple[Level, ...] = ("off", "basic", "extended", "all")
CLASSIFIER, DETECTOR, TRANSFORMER = "digits_mobilenetv2", "digits_yolo", "digits_vit"


def pictures(name: str, count: int) -> Feeds:
    config = onnxq.Config(samples=count, preprocess=str(MODELS / f"{name}.toml"))
    folder = pictures_of(name) / "calibration"
    data = CalibrationData.open(folder, load(MODELS / f"{name}.onnx"), config)
    return [dict(feed) for feed in data.spread(count)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "borders", "sqnr"),
    [(CLASSIFIER, 16, (1, 1), 25), (DETECTOR, 4, (1, 4), 25), (TRANSFORMER, 4, (2, 1), 30)],
)
def test_shipped_models(
    name: str, count: int, borders: tuple[int, int], sqnr: float, tmp_path: Path
) -> None:
    made = {form: tmp_path / f"{form}.onnx" for form in ("integer", "qdq")}
    plan = tmp_path / "plan.json"
    for form, path in made.items():
        onnxq.optimize(
            MODELS / f"{name}.onnx",
            data=pictures_of(name) / "calibration",
            preprocess=MODELS / f"{name}.toml",
            target="integer",
            format=form,
            output=path,
            samples=32,
            save_plan=plan if form == "integer" else None,
            plan=plan if form == "qdq" else None,
            threads=1,
        )
    proof = prove_integer(load(made["integer"]))
    assert proof.violations == ()
    assert (len(proof.quantize), len(proof.dequantize)) == borders
    feeds = pictures(name, count)
    _assert_same_bits(made["integer"], feeds)
    integer, qdq = (
        [next(iter(run(path.read_bytes(), x, "all").values())) for x in feeds]
        for path in made.values()
    )
    if name != DETECTOR:
        assert all(a.argmax() == b.argmax() for a, b in zip(integer, qdq, strict=True))
    noise = np.square(np.subtract(integer, qdq)).sum()
    assert 10 * np.log10(np.square(qdq).sum() / noise) > sqnr


def _assert_same_bits(path: Path, feeds: Feeds) -> None:
    """Every integer, over optimization levels and threads, and in the reference."""
    model = load(path)
    inner = [
        str(out.name)
        for node in model.graph
        for out in node.outputs
        if out.dtype is not None and out.dtype.is_integer()
    ]
    plain = make_session(model, optimize=False, outputs=inner)
    others = [make_session(model, threads=threads, outputs=inner) for threads in (1, 2)]
    for feed in feeds:
        wanted = plain.run(feed)
        refused: list[object] = []
        values = reference.evaluate(path, feed, set(inner), refused=refused.append)
        found = {str(value.name): array for value, array in values}
        assert set(found) == set(wanted)
        for arrays in (found, *(other.run(feed) for other in others)):
            for value, array in arrays.items():
                np.testing.assert_array_equal(array, wanted[value], err_msg=value)
    if not refused:
        _assert_same_outputs(path, feeds[0])


def _assert_same_outputs(path: Path, feed: dict[str, npt.NDArray[Any]]) -> None:
    """Where nothing behind the border rounds as it likes."""
    first, *others = (run(path.read_bytes(), feed, level) for level in LEVELS)
    for other in others:
        for name, array in first.items():
            np.testing.assert_array_equal(other[name], array)


def test_without_data_there_are_no_ranges(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--format integer needs --data"):
        onnxq.optimize(MODELS / f"{CLASSIFIER}.onnx", format="integer", output=tmp_path / "x.onnx")


def test_codes_in_and_codes_out(tmp_path: Path) -> None:
    """What an integer model gives for codes is what it gives for the numbers they stand for."""
    made, plan = {}, tmp_path / "plan.json"
    for io in ("integer", "float"):
        made[io] = tmp_path / f"{io}.onnx"
        onnxq.optimize(
            MODELS / f"{CLASSIFIER}.onnx",
            data=pictures_of(CLASSIFIER) / "calibration",
            preprocess=MODELS / f"{CLASSIFIER}.toml",
            format="integer",
            io=io,
            save_plan=plan if io == "integer" else None,
            plan=None if io == "integer" else plan,
            samples=8,
            output=made[io],
            threads=1,
        )
    whole = load(made["integer"])
    assert prove_integer(whole).violations == ()
    meaning = json.loads(whole.metadata_props[KEY])
    x, y = meaning["input"], meaning["logits"]
    feed = pictures(CLASSIFIER, 1)[0]["input"]
    scale = np.float32(x["scale"])
    codes = np.clip(np.rint(feed / scale) + x["zero_point"], 0, 255).astype(np.uint8)
    found = run(made["integer"].read_bytes(), {"input": codes}, "all")["logits"]
    assert found.dtype == np.uint8
    wanted = run(made["float"].read_bytes(), {"input": feed}, "all")["logits"]
    real = (found.astype(np.float32) - y["zero_point"]) * np.float32(y["scale"])
    np.testing.assert_allclose(real, wanted, rtol=1e-6)
