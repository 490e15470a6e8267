"""Which loss a recognized detector gets."""

from __future__ import annotations

import numpy as np

from onnxq.tasks.before_suppression import head_before_suppression
from onnxq.tasks.detector_loss import detection_loss
from onnxq.tasks.end_to_end import FinishedBoxes
from onnxq.tasks.head import Head, Part, ScoreForm
from onnxq.tasks.layout import Field, Layout
from onnxq.tasks.matched_loss import MatchedLoss
from onnxq.tasks.odol import DetectionLoss
from tests.support import model, run

SUPPRESSED = """f (float[1,6,4] raw, float[1,2,6] logits) => (int64[n,3] kept) {
    boxes = Relu(raw)
    scores = Sigmoid(logits)
    kept = NonMaxSuppression <center_point_box: int = 1> (boxes, scores)
}"""
TWICE = """f (float[1,6,4] raw, float[1,2,6] logits) => (int64[n,3] kept) {
    boxes = Relu(raw)
    scores = Sigmoid(logits)
    first = NonMaxSuppression(boxes, scores)
    moved = Cast <to: int = 1> (first)
    total = ReduceSum <keepdims: int = 0> (moved)
    more = Add(boxes, total)
    kept = NonMaxSuppression(more, scores)
}"""
FED = """f (float[1,6,4] boxes, float[1,2,6] scores) => (int64[n,3] kept) {
    kept = NonMaxSuppression(boxes, scores)
}"""
FINISHED = FinishedBoxes("b", "s", None)


def test_a_dense_head_is_looked_at_as_it_is() -> None:
    rows = Layout("y", "rows")
    head = Head((Part(Field(rows, 0, 4), Field(rows, 4)),), "corners", ScoreForm())

    assert isinstance(detection_loss(head, model(SUPPRESSED)), DetectionLoss)


def test_suppression_is_looked_at_from_in_front() -> None:
    loss = detection_loss(FINISHED, model(SUPPRESSED))

    assert isinstance(loss, DetectionLoss)
    assert loss.values == ("boxes", "scores")


def test_what_suppression_reads_is_read_by_place() -> None:
    head = head_before_suppression(model(SUPPRESSED))
    assert head is not None
    text = SUPPRESSED.replace("int64[n,3] kept", "float[1,6,4] boxes, float[1,2,6] scores")
    text = text[: text.index("kept = ")] + "}"
    rng = np.random.default_rng(0)
    feeds = {
        "raw": rng.uniform(1, 9, (1, 6, 4)).astype(np.float32),
        "logits": rng.normal(0, 1, (1, 2, 6)).astype(np.float32),
    }

    outputs = run(model(text), feeds)

    assert head.boxes == "centre"
    np.testing.assert_array_equal(head.table(outputs)[0].T, outputs["scores"][0])


def test_of_two_suppressions_the_first_counts() -> None:
    loss = detection_loss(FINISHED, model(TWICE))

    assert loss.values == ("boxes", "scores")


def test_suppression_of_what_is_fed_leaves_the_finished_boxes() -> None:
    assert isinstance(detection_loss(FINISHED, model(FED)), MatchedLoss)
