"""Passes of other packages: found, loaded, refused in one line, held to their contracts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.config import Config
from onnxq.errors import ConfigError
from onnxq.foreign import load_foreign, offers
from onnxq.graph.io import to_bytes
from onnxq.passbase import PlanPass, RewritePass
from onnxq.registry import chosen_foreign, known_passes
from tests.e2e.networks import classifier, images
from tests.installed import install
from tests.support import assert_same_function

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Install = Callable[..., None]

_REWRITE = """
import onnx_ir as ir
from onnxq.passbase import RewritePass

class Theirs(RewritePass):
    \"\"\"Does little.

    And more.
    \"\"\"

    name = "theirs"

    def call(self, model):
        {body}
        return ir.passes.PassResult(model, {modified})
"""
_PLAN = """
from dataclasses import dataclass
from onnxq.passbase import PlanPass

@dataclass(frozen=True)
class Theirs(PlanPass):
    name = "theirs"

    def revise(self, context, plan):
        {body}
"""
QUIET = _REWRITE.format(body="pass", modified=False)
_WRONG = """
        from onnxq.graph.edit import set_weight
        for weight in model.graph.initializers.values():
            set_weight(weight, weight.const_value.numpy() * 2)
"""


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Installs the package wide 1.2 with the pass "theirs", from the code that is given."""

    def make(code: str = QUIET, *, name: str = "theirs", value: str = "wide_passes:Theirs") -> None:
        install(monkeypatch, tmp_path / "wide", "wide", {name: value}, {"wide_passes": code})

    return make


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


def load() -> object:
    return load_foreign(Config(), ())


# ---- found and loaded ----------------------------------------------------------------------------


def test_without_other_packages_there_is_nothing() -> None:
    assert offers(()) == []
    assert chosen_foreign(Config()).names == frozenset()


def test_a_pass_is_loaded_and_told_apart_by_its_kind(wide: Install) -> None:
    wide()
    found = load_foreign(Config(), ())
    assert [type(p).__name__ for p in found.rewrites] == ["Theirs"]
    assert found.plans == ()
    assert found.names == {"theirs"}
    assert found.packages == {"wide": "1.2"}


def test_a_plan_pass_is_one_too(wide: Install) -> None:
    wide(_PLAN.format(body="return plan"))
    found = load_foreign(Config(), ())
    assert isinstance(found.plans[0], PlanPass)
    assert found.rewrites == ()


def test_a_function_may_make_the_pass(wide: Install) -> None:
    wide(QUIET + "\ndef make():\n    return Theirs()\n", value="wide_passes:make")
    assert isinstance(load_foreign(Config(), ()).rewrites[0], RewritePass)


@pytest.mark.parametrize("options", [{"skip": "theirs"}, {"passes": "fold-pad"}])
def test_what_does_not_run_is_not_imported(wide: Install, options: dict[str, object]) -> None:
    wide("raise RuntimeError")
    assert chosen_foreign(Config.of(options)).names == frozenset()
    assert "wide_passes" not in sys.modules


# ---- refused -------------------------------------------------------------------------------------

_TODO = "; mend or uninstall wide, or leave the pass out with --skip theirs"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_of_this_name", "(ModuleNotFoundError: No module named 'nothing_of_this"),
        ("raise ValueError('two\\nlines')", "(ValueError: two lines)"),
        ("raise SystemExit(3)", "(SystemExit: 3)"),
        ("", "(AttributeError: module 'wide_passes' has no attribute 'Theirs')"),
        ("def Theirs(config): pass", "missing 1 required positional argument: 'config')"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(wide: Install, code: str, reason: str) -> None:
    wide(code)
    text = refusal(load)
    assert text.startswith("pass theirs of package wide 1.2 cannot be loaded from wide_passes:")
    assert reason in text
    assert text.endswith(_TODO)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("Theirs = dict", "is a dict, and has to be a RewritePass or a PlanPass"),
        (QUIET.replace('"theirs"', '"other"'), "calls itself other; entry point and pass need one"),
        (QUIET.replace('name = "theirs"', ""), "calls itself nothing; entry point and pass need"),
        (
            _PLAN.format(body="return plan").replace("@dataclass(frozen=True)", ""),
            "is a PlanPass, and has to be a frozen dataclass",
        ),
        (
            QUIET + "\n    def __init__(self):\n        self.mine = 3\n",
            "is a RewritePass, and has to call its __init__",
        ),
        (
            QUIET + "\n    options = {'wide': 3}\n    wide = 3\n",
            "has an option 'wide', which needs a PassOption and a value",
        ),
        (
            QUIET
            + "\n    from onnxq.pass_options import switch\n    options = {'wide': switch()}\n",
            "has an option 'wide', which needs a PassOption and a value",
        ),
    ],
)
def test_what_is_no_pass_is_refused(wide: Install, code: str, reason: str) -> None:
    wide(code)
    text = refusal(load)
    assert text.startswith(f"pass theirs of package wide 1.2 {reason}")
    assert text.endswith(_TODO)


def test_the_name_of_a_pass_of_onnxq_is_refused(wide: Install) -> None:
    wide(name="fold-pad")
    expected = (
        "onnxq and package wide both have a pass fold-pad; uninstall wide, or ask its authors for "
        "another name"
    )
    assert refusal(lambda: chosen_foreign(Config(skip=("fold-pad",)))) == expected
    assert refusal(known_passes) == expected


def test_one_name_in_two_packages_is_refused(
    wide: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wide()
    install(monkeypatch, tmp_path / "narrow", "narrow", {"theirs": "narrow_passes:Theirs"})
    text = refusal(load)
    assert text.startswith("package narrow and package wide both have a pass theirs; uninstall")


# ---- listed --------------------------------------------------------------------------------------


def test_it_is_listed_last_with_its_origin(wide: Install) -> None:
    wide()
    row = known_passes()[-1]
    assert row == ("theirs", "rewrite", "Does little.", "wide 1.2", {}, False)


def test_a_broken_one_is_listed_with_the_reason(wide: Install) -> None:
    wide("1 / 0")
    row = known_passes()[-1]
    assert row[:2] == ("theirs", "unusable")
    assert "ZeroDivisionError" in row.summary


# ---- chosen --------------------------------------------------------------------------------------


def test_a_pipeline_may_list_it(wide: Install) -> None:
    wide()
    table = {"rewrite": [{"name": "theirs"}], "plan": [{"name": "fit-weights"}]}
    text = refusal(lambda: chosen_foreign(Config.of({"pipeline": table})))
    assert text.startswith("the pipeline: [[plan]] lacks fit-activations")
    found = chosen_foreign(Config.of({"pipeline": {"rewrite": [{"name": "theirs"}]}}))
    assert found.names == {"theirs"}


def test_a_pipeline_has_to_list_it_under_its_kind(wide: Install) -> None:
    wide()
    config = Config.of({"pipeline": {"plan": [{"name": "theirs"}]}})
    assert refusal(lambda: chosen_foreign(config)) == (
        "the pipeline: [[plan]] theirs: it is a rewrite pass; list it under [[rewrite]]"
    )


# ---- held to its contract, without --check -------------------------------------------------------


def optimized(data: bool = True, **options: object) -> onnxq.Result:
    samples = {"x": images(8)} if data else None
    return onnxq.optimize(classifier(), samples, threads=1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [True, False], ids=["data", "no_data"])
def test_a_rewrite_that_changes_the_function_is_rolled_back(wide: Install, data: bool) -> None:
    wide(_REWRITE.format(body=_WRONG.strip(), modified=True))
    made = optimized(data)
    (entry,) = [row for row in made.trace if row.name == "theirs"]
    assert entry.rolled_back is not None
    assert entry.rolled_back.startswith("value ")
    assert any(w.startswith("theirs was rolled back: value ") for w in made.warnings)
    assert_same_function(classifier(), made.model, {"x": images(4)}, rtol=0.1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('no')", "it raised KeyError: 'no'"),
        ("return None", "it returned a NoneType and no plan"),
        (
            "context.model.graph[0].name = 'edited'; return plan",
            "it edited the float model",
        ),
        (
            "from dataclasses import replace; return replace(plan, groups=(frozenset('ab'),))",
            "its plan does not fit: ",
        ),
        (
            "from dataclasses import replace; return replace(plan, notes=plan.notes[1:])",
            "it took notes of other passes out of the plan",
        ),
    ],
)
def test_a_plan_pass_that_goes_wrong_is_rolled_back(
    wide: Install, body: str, reason: str, plain: onnxq.Result
) -> None:
    wide(_PLAN.format(body=body))
    made = optimized()
    (entry,) = [row for row in made.trace if row.name == "theirs"]
    assert entry.rolled_back is not None
    assert entry.rolled_back.startswith(reason)
    assert made.plan.notes == plain.plan.notes
    assert made.plan.values.keys() == plain.plan.values.keys()
    assert to_bytes(made.model) == to_bytes(plain.model)


@pytest.fixture(scope="module")
def plain() -> onnxq.Result:
    return optimized()


def test_one_that_raises_a_users_error_is_heard(wide: Install) -> None:
    wide(_PLAN.format(body="from onnxq.errors import DataError; raise DataError('not like this')"))
    with pytest.raises(onnxq.OnnxqError, match="not like this"):
        optimized()


def test_inspecting_tells_what_it_would_do(wide: Install) -> None:
    body = "self.fired('here', 'did it'); model.graph[0].name = model.graph[0].name + '_'"
    wide(_REWRITE.format(body=body, modified=True))
    forecast = onnxq.inspect(classifier()).forecast
    assert forecast is not None
    assert forecast.rewrites["theirs"] >= 1


def test_inspecting_says_that_a_broken_one_is_in_the_way(wide: Install) -> None:
    wide("1 / 0")
    found = onnxq.inspect(classifier())
    assert found.forecast is None
    assert found.refusal.startswith("pass theirs of package wide 1.2 cannot be loaded")
