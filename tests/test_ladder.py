"""``--calibration auto``: which method is taken, and when nothing further is tried."""

from __future__ import annotations

import pytest

from onnxq.config import Config
from onnxq.errors import ConfigError
from onnxq.ladder import LADDER, climb
from onnxq.manager import Trace, TraceEntry, silent
from onnxq.options import Requirement
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.report.result import Fidelity
from onnxq.tasks.base import Agreement

SECOND = LADDER[1]


class Climb:
    """Climbs with given fidelities; what is not given has 10 dB and 80 of 100 answers."""

    def __init__(self, *require: str, **sqnr: float) -> None:
        self.tried: list[str] = []
        self.trace = Trace([TraceEntry("earlier", "plan", 0.0, modified=True)])
        self.sqnr = {key.replace("_", "-"): value for key, value in sqnr.items()}
        requirements = [Requirement.parse(text) for text in require]
        self.plan = climb(self.trace, self._fit, self._judge, requirements, silent)
        *_, self.last = self.plan.notes

    def _fit(self, method: str) -> QuantPlan:
        self.tried.append(method)
        self.trace.entries.append(TraceEntry(f"fit {method}", "plan", 0.0, modified=True))
        return QuantPlan(float_nodes={method: ""})

    def _judge(self, plan: QuantPlan) -> Fidelity:
        (method,) = plan.float_nodes
        sqnr = self.sqnr.get(method, 10.0)
        return Fidelity({"y": sqnr, "z": sqnr + 5}, Agreement.of(80, 100))

    @property
    def taken(self) -> str:
        return next(iter(self.plan.float_nodes))


def test_it_stops_where_a_rung_gains_too_little() -> None:
    found = Climb(kl=10.4)

    assert found.tried == ["mse", *SECOND]
    assert found.taken == "mse"
    assert "kl gains 0.40 dB" in found.last.text


def test_it_goes_on_where_a_rung_gains_enough() -> None:
    found = Climb(kl=10.6, adaptive_lp=11.2, pd=11.3)

    assert found.tried == ["mse", *SECOND, "adaptive-lp", "pd"]
    assert found.taken == "adaptive-lp"
    assert "pd gains 0.10 dB" in found.last.text


def test_the_last_rung_may_be_taken() -> None:
    found = Climb(kl=11, adaptive_lp=12, pd=13)

    assert found.taken == "pd"
    assert found.last.text == "taken: it is the last rung"


def test_of_a_rung_the_best_counts() -> None:
    assert Climb(kl=11, **{"lp:3": 12.0}, adaptive_lp=12.1).taken == "lp:3"


@pytest.mark.parametrize(
    ("require", "tried"),
    [
        (("sqnr>=9",), ["mse"]),
        (("sqnr>=10.5",), ["mse", *SECOND[:2]]),
        (("agreement>=0.8", "speedup>=99"), ["mse"]),
        (("sqnr>=9", "agreement>=0.9"), ["mse", *SECOND, "adaptive-lp"]),
        (("speedup>=1",), ["mse", *SECOND, "adaptive-lp"]),
    ],
)
def test_what_is_required_stops_it(require: tuple[str, ...], tried: list[str]) -> None:
    found = Climb(*require, **{"lp:3": 11.0, "adaptive_lp": 11.1})

    assert found.tried == tried
    if len(tried) < 4:
        assert found.taken == tried[-1]
        assert found.last.text == "taken: it meets what is required"


def test_an_output_that_is_no_number_is_the_worst() -> None:
    assert Climb(mse=float("nan")).taken != "mse"


def test_the_trace_keeps_what_was_taken_and_says_what_was_tried() -> None:
    found = Climb(kl=11, adaptive_lp=11.1)
    names = [entry.name for entry in found.trace.entries]

    assert names == ["earlier", "fit kl", "auto"]
    notes = found.trace.entries[-1].notes
    assert [note.where for note in notes if note.kind is NoteKind.INFO] == found.tried
    assert "11.00 dB at the worst output, agreement 0.800" in notes[SECOND.index("kl") + 1].text
    assert found.plan.notes == notes


def test_a_pipeline_file_that_lists_plan_passes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--calibration auto chooses among passes"):
        Config(calibration="auto", pipeline={"plan": [{"name": "fit-activations"}]})  # type: ignore[arg-type]
