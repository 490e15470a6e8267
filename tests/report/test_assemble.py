from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
import pytest

from onnxq.config import Config
from onnxq.data.calibration import CalibrationData
from onnxq.graph.io import load, to_bytes
from onnxq.manager import Trace, TraceEntry
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.report.assemble import Proof, Run, assemble, label
from onnxq.report.result import Fidelity, HeavyLayer
from tests.passes.plan.planning import hand_context
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    from onnxq.report.result import Result


@dataclass
class Source:
    """Stands for a data source of which files were left out."""

    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return 9

    def describe(self) -> str:
        return "a folder"


DATA: Any = CalibrationData(Source(), (0, 1, 2), (3,))  # type: ignore[arg-type]
LAYERS = (HeavyLayer("node_c", "Conv", 300, integer=True), HeavyLayer("d", "Conv", 100, False))


def network() -> ir.Model:
    return build(
        """f (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,6,6] y) {
            c = Conv(x, w)
            y = Sigmoid(c) }""",
        w=rng_weight(6, 4, 3, 3),
    )


def assembled(
    samples: Any = DATA,  # noqa: ANN401
    heavy: tuple[HeavyLayer, ...] = LAYERS,
    source: Any = b"model",  # noqa: ANN401
    plan: QuantPlan | None = None,
    entries: tuple[TraceEntry, ...] = (),
) -> Result:
    original = network()
    run = Run(source, original, samples, Config(seed=3), Trace(list(entries)))
    plan = QuantPlan() if plan is None else plan
    proof = Proof(Fidelity({"y": 30.0}, samples=4), None, heavy)
    return assemble(run, hand_context(original), plan, network(), proof)


def test_the_data_are_named_with_what_was_used_of_them() -> None:
    assert assembled().data == "4 of 9 samples; a folder"
    assert assembled(CalibrationData(None)).data == ""


@pytest.mark.parametrize(
    ("source", "name"),
    [("a/net.onnx", "net.onnx"), (Path("a/net.onnx"), "net.onnx"), (b"x", "the model")],
    ids=["text", "path", "bytes"],
)
def test_label(source: Any, name: str) -> None:  # noqa: ANN401
    assert label(source) == name


def test_the_integer_share_is_that_of_multiply_accumulates() -> None:
    assert assembled().integer_share == 0.75
    assert assembled(heavy=()).integer_share == 0


def test_float_nodes_come_in_the_graphs_order_with_their_work() -> None:
    plan = QuantPlan(float_nodes={"node_y": "tail", "node_c": "slow", "gone": "folded"})
    found = assembled(plan=plan).stayed_float
    assert [(n.node, n.op, n.macs, n.reason) for n in found] == [
        ("node_c", "Conv", 6 * 36 * 36, "slow"),
        ("node_y", "Sigmoid", 0, "tail"),
    ]


def test_options_versions_and_seed_are_kept() -> None:
    found = assembled()
    assert found.options == Config(seed=3).to_dict()
    assert found.seed == 3
    assert "onnxruntime" in found.versions


def test_the_trace_is_counted() -> None:
    notes = (
        Note(NoteKind.FIRED, "fold", "a", "done"),
        Note(NoteKind.REFUSED, "fold", "b", "shared"),
    )
    entry = TraceEntry("fold", "rewrite", 0.5, True, notes)
    found = assembled(entries=(entry,))
    assert found.notes == notes
    assert [(r.name, r.fired, r.refused, r.seconds) for r in found.trace] == [("fold", 1, 1, 0.5)]


# ---- sizes ---------------------------------------------------------------------------------------


def test_bytes_have_their_length() -> None:
    assert assembled(source=b"12345").size_before == 5


def test_a_file_has_its_size(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(to_bytes(network()))
    assert assembled(source=file).size_before == file.stat().st_size


def test_external_data_counts(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    ir.save(network(), file, external_data="net.bin")
    original = load(file)
    run = Run(str(file), original, DATA, Config(), Trace())
    proof = Proof(Fidelity(), None, ())
    found = assemble(run, hand_context(network()), QuantPlan(), network(), proof)
    external = sum(
        value.const_value.nbytes
        for value in original.graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    )
    assert external == 6 * 4 * 9 * 4
    assert found.size_before == file.stat().st_size + external


def test_a_model_in_memory_has_the_size_of_its_weights() -> None:
    found = assembled(source=network())
    assert found.size_before == found.size_after == 6 * 4 * 9 * 4


# ---- warnings ------------------------------------------------------------------------------------


def test_a_usual_run_has_no_warnings() -> None:
    assert assembled().warnings == ()


@pytest.mark.parametrize(
    ("samples", "heavy", "said"),
    [
        (CalibrationData(None), (), "no --data: "),
        (replace(DATA, held_out=()), LAYERS, "no sample could be held out"),
        (
            replace(DATA, source=Source((("a.jpg", "is cut off"), ("b.jpg", "is empty")))),
            LAYERS,
            "2 files could not be read and were left out, the first a.jpg: is cut off",
        ),
        (DATA, (HeavyLayer("d", "Conv", 100, integer=False),), "nothing runs on integers"),
    ],
    ids=["no_data", "none_held_out", "skipped", "all_float"],
)
def test_what_the_user_should_know(
    samples: CalibrationData, heavy: tuple[HeavyLayer, ...], said: str
) -> None:
    (warning,) = assembled(samples, heavy).warnings
    assert warning.startswith(said)


def test_a_rewrite_that_was_undone_is_told() -> None:
    entry = TraceEntry("fold", "rewrite", 0.5, False, (), "value 'x' differs")
    assert assembled(entries=(entry,)).warnings == ("fold was rolled back: value 'x' differs",)
