"""The usual exports are recognized by their outputs, and other outputs are not taken for them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.errors import ConfigError
from onnxq.tasks.base import Overrides
from onnxq.tasks.recognize import recognize
from tests.support import model
from tests.tasks.scenes import SIZE, cells, head, logit

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.tasks.base import Task

    Array = npt.NDArray[Any]

PICTURE = (1, 3, *SIZE)
RNG = np.random.default_rng(7)


def with_outputs(*names: str, suppressed: bool = False) -> ir.Model:
    listed = ", ".join(f"float[A,B,C] {name}" for name in names)
    nodes = " ".join(f"{name} = Identity(x)" for name in names)
    unread = "i = NonMaxSuppression(x, x)" if suppressed else ""
    return model(f"f (float[A,B,C] x) => ({listed}) {{ {nodes} {unread} }}")


def recognized(
    make: Callable[[int], dict[str, Array]],
    *,
    suppressed: bool = False,
    overrides: Overrides | None = None,
    metadata: dict[str, str] | None = None,
) -> Task:
    probes = [make(seed) for seed in range(3)]
    source = with_outputs(*probes[0], suppressed=suppressed)
    source.metadata_props.update(metadata or {})
    return recognize(source, probes, PICTURE, overrides or Overrides())


def batch(*parts: Array) -> Array:
    return np.concatenate(parts, axis=1)[None].astype(np.float32)


def maps(table: Array, anchors: int = 1) -> list[Array]:
    """Rows of cells (all of one anchor first) as [1, anchors · columns, h, w], one per stride."""
    found, start = [], 0
    for stride in (8, 16, 32):
        height, width = (side // stride for side in SIZE)
        count = anchors * height * width
        part = table[start : start + count].reshape(anchors, height, width, -1)
        found.append(part.transpose(0, 3, 1, 2).reshape(1, -1, height, width))
        start += count
    return found


def named(**parts: list[Array]) -> dict[str, Array]:
    return {f"{k}_{i}": array for k, arrays in parts.items() for i, array in enumerate(arrays)}


# ---- each form of a detector, with what its description must say --------------------------------


def yolov8(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    return {"output0": batch(one.boxes, one.scores).transpose(0, 2, 1)}


def yolov8_normalised(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    return {"output0": batch(one.boxes / 80, one.scores).transpose(0, 2, 1)}


def yolov5(seed: int) -> dict[str, Array]:
    one = head(anchors=3, seed=seed)
    return {"output": batch(one.boxes, one.objectness, one.scores)}


def yolox_raw(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    offsets = np.random.default_rng(seed).normal(size=one.boxes.shape)
    return {"output": batch(offsets, one.objectness, one.scores)}


def fastestdet(seed: int) -> dict[str, Array]:
    one = head(strides=(8,), seed=seed)
    offsets = np.random.default_rng(seed).normal(size=one.boxes.shape) * 2
    table = np.concatenate([one.objectness, offsets, one.scores], axis=1).astype(np.float32)
    return {"out758": table.reshape(8, 8, -1).transpose(2, 0, 1)[None]}


def nanodet(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    bins = np.random.default_rng(seed).normal(size=(len(one.boxes), 32)) * 2
    return {"output": batch(one.scores, bins)}


def gfl_maps(seed: int) -> dict[str, Array]:
    one = head(classes=5, seed=seed)
    bins = np.random.default_rng(seed).normal(size=(len(one.boxes), 32)).astype(np.float32)
    return named(cls=maps(one.scores), dis=maps(bins))


def yolov8_maps(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    bins = np.random.default_rng(seed).normal(size=(len(one.boxes), 64)) * 2
    return named(o=maps(np.concatenate([bins, logit(one.scores)], axis=1).astype(np.float32)))


def yolov5_maps(seed: int) -> dict[str, Array]:
    one = head(anchors=3, seed=seed)
    offsets = np.random.default_rng(seed).normal(size=one.boxes.shape)
    table = np.concatenate([offsets, logit(one.objectness), logit(one.scores)], axis=1)
    return named(o=maps(table.astype(np.float32), 3))


def yolov5_maps_5d(seed: int) -> dict[str, Array]:
    return {
        name: array.reshape(1, 3, 8, *array.shape[2:]).transpose(0, 1, 3, 4, 2)
        for name, array in yolov5_maps(seed).items()
    }


def yolox_maps(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    offsets = np.random.default_rng(seed).normal(size=one.boxes.shape).astype(np.float32)
    return named(cls=maps(one.scores), reg=maps(offsets), obj=maps(one.objectness))


def retina_maps(seed: int) -> dict[str, Array]:
    one = head(anchors=2, classes=3, seed=seed)
    offsets = np.random.default_rng(seed).normal(size=one.boxes.shape).astype(np.float32)
    return named(a=maps(logit(one.scores), 2), b=maps(offsets, 2))


def face_levels(seed: int) -> dict[str, Array]:
    one = head(classes=1, seed=seed)
    edges = np.cumsum([0, 64, 16, 4])
    points = np.random.default_rng(seed).normal(size=(84, 10)).astype(np.float32)
    sides = np.abs(np.random.default_rng(seed).normal(size=(84, 4))).astype(np.float32)
    return named(
        score=[one.scores[a:b] for a, b in itertools.pairwise(edges)],
        bbox=[sides[a:b] for a, b in itertools.pairwise(edges)],
        kps=[points[a:b] for a, b in itertools.pairwise(edges)],
    )


def ssd(seed: int) -> dict[str, Array]:
    one = head(classes=1, seed=seed)
    return {"scores": batch(1 - one.scores, one.scores), "boxes": one.corners[None] / 64}


def ssd_columns(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    return {"s": one.scores.T[None], "b": one.corners[None]}


def detr(seed: int) -> dict[str, Array]:
    """Fifty queries, the best first: no cells."""
    one = head(classes=3, seed=seed)
    top = one.scores.max(axis=1)
    order = np.argsort(-top)[:50]
    nothing = np.where(top > 0.5, -3, 6)[order, None]
    scores = batch(logit(one.scores[order]), nothing)
    return {"logits": scores, "pred_boxes": one.boxes[None, order] / 100}


def masks(seed: int) -> dict[str, Array]:
    one = head(seed=seed)
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(len(one.boxes), 8))
    return {
        "output0": batch(one.boxes, one.scores, mixed).transpose(0, 2, 1),
        "output1": rng.normal(size=(1, 8, 16, 16)).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (yolov8, "one output [1, 7, 84], boxes cx cy w h beside 3 scores"),
        (yolov8_normalised, "boxes cx cy w h beside 3 scores"),
        (yolov5, "boxes cx cy w h beside 3 scores times objectness"),
        (yolox_raw, "3 scores times objectness beside raw boxes"),
        (fastestdet, "one output [1, 8, 8, 8], 3 scores times objectness beside raw boxes"),
        (nanodet, "3 scores beside raw boxes"),
        (gfl_maps, "6 outputs on 3 levels, 5 scores beside raw boxes"),
        (yolov8_maps, "3 scores by sigmoid beside raw boxes"),
        (yolov5_maps, "3 scores times objectness by sigmoid beside raw boxes"),
        (yolov5_maps_5d, "3 scores times objectness by sigmoid beside raw boxes"),
        (yolox_maps, "9 outputs on 3 levels, 3 scores times objectness beside raw boxes"),
        (retina_maps, "3 scores by sigmoid beside raw boxes"),
        (face_levels, "6 outputs on 3 levels, 1 score beside raw boxes"),
        (ssd, "boxes as corners beside 1 score without background"),
        (ssd_columns, "boxes as corners beside 3 scores"),
        (detr, "boxes cx cy w h beside 3 scores without background by softmax"),
        (masks, "boxes cx cy w h beside 3 scores"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_detector_is_recognized_by_its_outputs(
    make: Callable[[int], dict[str, Array]], said: str
) -> None:
    task = recognized(make)

    assert task.name == "detection"
    assert said in task.description


@pytest.mark.parametrize(
    "make",
    [
        yolov8, yolov5, yolox_raw, fastestdet, nanodet, gfl_maps, yolov8_maps, yolov5_maps,
        yolov5_maps_5d, yolox_maps, retina_maps, face_levels, ssd, ssd_columns, detr, masks,
    ],
)  # fmt: skip
def test_equal_outputs_find_all_three_objects(make: Callable[[int], dict[str, Array]]) -> None:
    comparison = recognized(make).comparison()
    comparison.add(make(0), make(0))
    boxes = comparison.fidelity().boxes

    assert boxes is not None
    assert boxes.f1 == 1
    assert 1 <= boxes.wanted <= 3


# ---- metadata and numbers of classes ------------------------------------------------------------


def test_names_in_the_metadata_settle_what_objectness_is() -> None:
    def make(seed: int) -> dict[str, Array]:
        one = head(classes=4, seed=seed)
        return {"o": batch(one.boxes, one.scores)}

    four = recognized(make, metadata={"task": "detect", "names": "{0: 'a', 1: 'b', 2: 7, 3: 8}"})

    assert four.description.endswith("beside 4 scores")
    assert recognized(make).description.endswith("3 scores times objectness")


@pytest.mark.parametrize("names", ["{", "[]", "os.abort()", "7"])
def test_metadata_that_cannot_be_read_are_none(names: str) -> None:
    assert recognized(yolov8, metadata={"names": names}).name == "detection"


def test_raw_numbers_are_a_detector_if_the_metadata_say_so() -> None:
    def make(seed: int) -> dict[str, Array]:
        one = head(seed=seed)
        offsets = np.random.default_rng(seed).normal(size=one.boxes.shape)
        return {"o": batch(offsets, logit(one.scores)).transpose(0, 2, 1)}

    said = {"task": "detect", "names": "['a', 'b', 'c']"}

    assert recognized(make).name == "generic"
    assert "3 scores by sigmoid beside raw boxes" in recognized(make, metadata=said).description


# ---- what is no detector ------------------------------------------------------------------------


def noise(*shape: int) -> Callable[[int], dict[str, Array]]:
    return lambda seed: {
        "y": np.random.default_rng(seed).normal(size=shape).astype(np.float32),
    }


def shares(*shape: int) -> Callable[[int], dict[str, Array]]:
    """Softmax over axis 1."""

    def make(seed: int) -> dict[str, Array]:
        scores = np.exp(np.random.default_rng(seed).normal(size=shape) * 3)
        return {"y": (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)}

    return make


@pytest.mark.parametrize(
    "make",
    [
        noise(1, 84, 16), noise(1, 64, 192), noise(1, 21, 64, 64), noise(1, 6, 8, 8),
        noise(1, 255, 8, 8), noise(1, 3, 64, 64), noise(1, 1, 64, 64), noise(7), noise(1, 17, 32),
        noise(2, 3, 4, 5, 6), shares(1, 84, 84), shares(1, 21, 64, 64), shares(1, 7, 8, 8),
    ],
)  # fmt: skip
def test_other_outputs_are_generic(make: Callable[[int], dict[str, Array]]) -> None:
    assert recognized(make).name == "generic"


def test_two_vectors_are_neither_classes_nor_boxes() -> None:
    def make(seed: int) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        return {"a": rng.random((1, 10), np.float32), "b": rng.random((1, 4), np.float32)}

    task = recognized(make)

    assert task.name == "generic"
    assert task.description == "generic: no classes or boxes recognized in a [1, 10], b [1, 4]"


def test_an_embedding_is_no_classification() -> None:
    def make(seed: int) -> dict[str, Array]:
        vector = np.random.default_rng(seed).normal(size=(1, 64))
        return {"y": (vector / np.linalg.norm(vector)).astype(np.float32)}

    assert recognized(make).name == "generic"


@pytest.mark.parametrize("rows", [(3, 5, 4, 3), (0, 0, 0, 0)])
def test_rows_as_many_as_were_found_are_no_classification(rows: tuple[int, ...]) -> None:
    def make(seed: int) -> dict[str, Array]:
        return {"y": RNG.normal(size=(rows[seed % 4], 10)).astype(np.float32)}

    assert recognized(make).name == "generic"


def test_a_vector_of_scores_is_a_classification() -> None:
    assert recognized(noise(1, 10)).name == "classification"
    assert recognized(shares(1, 10, 1, 1)).name == "classification"


def test_scores_that_are_high_everywhere_are_no_detector() -> None:
    def make(seed: int) -> dict[str, Array]:
        one = head(seed=seed)
        return {"output0": batch(one.boxes, 1 - one.scores).transpose(0, 2, 1)}

    assert recognized(make).name == "generic"


def test_outputs_without_end_are_generic() -> None:
    def make(seed: int) -> dict[str, Array]:
        return {"output0": np.full_like(yolov8(seed)["output0"], np.inf)}

    assert recognized(make).name == "generic"


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("make", [yolov8, yolov5, ssd, detr])
def test_a_broken_quantized_model_finds_nothing_right(
    make: Callable[[int], dict[str, Array]], value: float
) -> None:
    comparison = recognized(make).comparison()
    broken = {name: np.full_like(array, value) for name, array in make(0).items()}
    comparison.add(make(0), broken)
    boxes = comparison.fidelity().boxes

    assert boxes is not None
    assert boxes.matched == 0
    assert boxes.wanted > 0


# ---- what the user says -------------------------------------------------------------------------


def test_generic_can_be_asked_for() -> None:
    assert recognized(yolov8, overrides=Overrides("generic")).name == "generic"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides("detection"), "--task detection does not fit: no output of y"),
        (Overrides(boxes=("y",)), "--boxes does not fit: no output of y"),
        (Overrides("classification"), "--task classification does not fit"),
        (Overrides(scores=("z",)), "--scores 'z' is no output; choose one of y"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(overrides: Overrides, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recognized(noise(1, 3, 64, 64), overrides=overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_named_outputs_are_boxes_and_scores() -> None:
    def make(seed: int) -> dict[str, Array]:
        one = head(classes=4, seed=seed)
        other = np.zeros((1, 84, 4), np.float32)
        return {"p": one.corners[None], "q": one.scores[None], "r": other}

    task = recognized(make, overrides=Overrides(boxes=("p",), scores=("q",)))

    assert task.description == (
        "detection: outputs p [1, 84, 4] and q [1, 84, 4], boxes as corners beside 4 scores"
    )


def test_named_scores_of_several_outputs_are_a_classification() -> None:
    def make(seed: int) -> dict[str, Array]:
        return {"features": RNG.random((1, 64)), **noise(1, 10)(seed)}

    assert recognized(make).name == "generic"
    assert recognized(make, overrides=Overrides(scores=("y",))).name == "classification"


# ---- little to go by ----------------------------------------------------------------------------


def test_without_probes_only_the_shape_of_scores_is_known() -> None:
    vector = model("f (float[1,10] x) => (float[1,10] y) { y = Softmax(x) }")

    assert recognize(vector, []).description.endswith("y holds scores of 10 classes from Softmax")
    assert recognize(with_outputs("y"), []).name == "generic"


def test_without_a_picture_the_numbers_decide() -> None:
    probes = [yolov8(seed) for seed in range(2)]

    assert recognize(with_outputs("output0"), probes, None).name == "detection"


def test_the_order_of_cells_of_the_scenes_is_that_of_exporters() -> None:
    assert len(cells()) == 84
