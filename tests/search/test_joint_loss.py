"""The loss with many layers changed at once, against models that were changed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxq.runtime.session import make_session
from onnxq.search.joint_loss import JointLoss, Judgement
from onnxq.tasks.loss import GenericLoss
from tests.passes.rewrite.building import build, rng_weight

WEIGHTS = {"w": rng_weight(8, 6), "v": rng_weight(8, 3, seed=1), "b": np.zeros(3, np.float32)}
TEXT = """f (float[1,6] x, float[6,8] w, float[8,3] v, float[3] b) => (float[1,3] y) {
    h = MatMul(x, w)
    r = Relu(h)
    m = MatMul(r, v)
    y = Add(m, b) }"""
LOSS = GenericLoss(["y"])
FEEDS = [
    {"x": rng.normal(size=(1, 6)).astype(np.float32)}
    for rng in map(np.random.default_rng, range(6))
]


def model(**changed: Any) -> Any:  # noqa: ANN401 (arrays in, a model out)
    return build(
        TEXT, **{"w": WEIGHTS["w"].T.copy(), "v": WEIGHTS["v"], "b": WEIGHTS["b"], **changed}
    )


def changes(seed: int) -> dict[str, dict[int, dict[str, Any]]]:
    rng = np.random.default_rng(seed)

    def like(shape: tuple[int, ...], size: float) -> Any:  # noqa: ANN401 (an array)
        return (size * rng.normal(size=shape)).astype(np.float32)

    return {
        "w": {2: {"w": like((6, 8), 0.3)}, 4: {"w": like((6, 8), 0.1)}},
        "v": {2: {"v": like((8, 3), 0.3), "b": like((3,), 0.1)}, 4: {"v": like((8, 3), 0.1)}},
    }


def expected(change: dict[str, Any], feeds: list[dict[str, Any]]) -> list[float]:
    real = model()
    own = {name: np.asarray(real.graph.initializers[name].const_value) for name in "wvb"}
    other = model(**{name: own[name] + change[name] for name in change})
    plain, changed = make_session(real), make_session(other)
    return [LOSS.measure(plain.run(feed), changed.run(feed)) for feed in feeds]


def test_all_weights_change_at_once() -> None:
    found = changes(0)
    joint = JointLoss(model(), LOSS, [Judgement(found, FEEDS)], 1)

    both = {"w": found["w"][4]["w"], **found["v"][2]}
    assert joint({"w": 4, "v": 2}) == pytest.approx(np.mean(expected(both, FEEDS)), rel=1e-5)
    assert joint({"w": 32, "v": 4}) == pytest.approx(
        np.mean(expected(found["v"][4], FEEDS)), rel=1e-5
    )
    assert joint({"w": 32, "v": 32}) == 0


def test_each_judgement_changes_the_model_for_its_own_samples() -> None:
    one, other = changes(0), changes(1)
    joint = JointLoss(model(), LOSS, [Judgement(one, FEEDS[:2]), Judgement(other, FEEDS[2:])], 1)

    losses = expected(one["w"][2], FEEDS[:2]) + expected(other["w"][2], FEEDS[2:])
    assert joint({"w": 2}) == pytest.approx(np.mean(losses), rel=1e-5)


def test_what_was_measured_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    joint = JointLoss(model(), LOSS, [Judgement(changes(0), FEEDS)], 1)
    first = joint({"w": 2, "v": 4})
    monkeypatch.setattr("onnxq.search.joint_loss.make_session", None)

    assert joint({"v": 4, "w": 2}) == first
