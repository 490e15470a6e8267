"""What --passes, --skip and --pipeline let run, and what they are refused for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import pytest

from onnxq.config import Config
from onnxq.errors import ConfigError
from onnxq.pass_options import PassOption, choice, number
from onnxq.selection import arranged, check_names, check_pipeline, may_run

if TYPE_CHECKING:
    from collections.abc import Mapping

Table = dict[str, list[dict[str, object]]]


@dataclass(frozen=True)
class Pass:
    name: str
    options: Mapping[str, PassOption] = field(default_factory=dict)
    after: frozenset[str] = frozenset()
    on_request: bool = False
    percent: float = 100.0
    method: str = "mse"

    def configured(self, values: Mapping[str, object]) -> Self:
        return replace(self, **values)  # type: ignore[arg-type]


OPTIONAL = ["fold-pad", "fold-batchnorm", "correct-bias"]
KNOWN = ["infer-shapes", *OPTIONAL, "fit-ranges", "fit-weights"]
REWRITES = [Pass(name) for name in OPTIONAL[:2]]
_OPTIONS = {
    "percent": number("a number up to 100", lambda share: share <= 100),
    "method": choice("mse", "minmax"),
}
PLANS = [
    Pass("fit-ranges", _OPTIONS),
    Pass("fit-weights", after=frozenset({"fit-ranges"})),
    Pass("correct-bias"),
]


def chosen(**options: object) -> list[str]:
    return [p.name for p in arranged("rewrite", REWRITES, Config.of(options))]


def check(**options: object) -> None:
    check_names(Config.of(options), KNOWN, OPTIONAL)


def piped(table: Table, skip: str | tuple[str, ...] = ()) -> Config:
    return Config(pipeline=table, skip=skip)  # type: ignore[arg-type]


def check_table(table: Table, skip: str | tuple[str, ...] = ()) -> None:
    check_pipeline(
        piped(table, skip),
        {"rewrite": REWRITES, "plan": PLANS},
        fixed=("infer-shapes",),
        needed={"rewrite": (), "plan": ("fit-weights", "fit-ranges")},
    )


def refusal(table: Table, skip: str | tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        check_table(table, skip)
    return str(caught.value)


def plan(*items: str | dict[str, object]) -> Table:
    return {"plan": [{"name": item} if isinstance(item, str) else item for item in items]}


# ---- by name -------------------------------------------------------------------------------------


def test_all_run_by_default() -> None:
    assert chosen() == ["fold-pad", "fold-batchnorm"]


def test_chosen_ones_run_in_their_own_order() -> None:
    assert chosen(passes="fold-batchnorm,fold-pad") == ["fold-pad", "fold-batchnorm"]
    assert chosen(passes="fold-batchnorm") == ["fold-batchnorm"]


def test_names_of_other_passes_choose_none_of_these() -> None:
    assert chosen(passes="correct-bias") == []
    assert chosen(skip="correct-bias") == ["fold-pad", "fold-batchnorm"]


def test_skipping_wins_over_choosing() -> None:
    assert chosen(passes="fold-pad,fold-batchnorm", skip="fold-pad") == ["fold-batchnorm"]


def test_what_is_needed_runs_unchosen() -> None:
    found = arranged("plan", PLANS, Config(passes=("correct-bias",)), needed=("fit-weights",))
    assert [p.name for p in found] == ["fit-weights", "correct-bias"]


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, False),
        ({"passes": "rare"}, True),
        ({"passes": "fold-pad"}, False),
        ({"pipeline": {"rewrite": [{"name": "rare"}]}}, True),
        ({"pipeline": {"rewrite": []}}, False),
    ],
)
def test_a_pass_on_request_runs_where_it_is_named(options: dict[str, object], runs: bool) -> None:
    passes = [*REWRITES, Pass("rare", on_request=True)]
    found = arranged("rewrite", passes, Config.of(options))
    assert ("rare" in [p.name for p in found]) is runs


def test_another_option_may_ask_for_a_pass_on_request() -> None:
    passes = [*REWRITES, Pass("rare", on_request=True)]
    found = arranged("rewrite", passes, Config(), wished=["rare"])
    assert [p.name for p in found] == ["fold-pad", "fold-batchnorm", "rare"]
    skipped = arranged("rewrite", passes, Config(skip=("rare",)), wished=["rare"])
    assert [p.name for p in skipped] == ["fold-pad", "fold-batchnorm"]


@pytest.mark.parametrize("option", ["passes", "skip"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fold-batchnrom", "did you mean fold-batchnorm?"),
        ("zzz", "see 'onnxq passes'"),
        ("Fold-Pad", "did you mean fold-pad?"),
    ],
)
def test_an_unknown_name_is_refused(option: str, name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**{option: name})
    assert str(caught.value) == f"there is no pass '{name}'; {hint}"


def test_what_nothing_works_without_cannot_be_skipped() -> None:
    with pytest.raises(ConfigError) as caught:
        check(skip="correct-bias,fit-weights")
    assert str(caught.value).startswith("--skip fit-weights: nothing works without it")
    assert ", ".join(OPTIONAL) in str(caught.value)


def test_known_names_are_fine() -> None:
    check(skip="correct-bias", passes="fit-weights,fold-pad")


# ---- by pipeline ---------------------------------------------------------------------------------


def test_a_pipeline_says_what_runs_and_in_which_order() -> None:
    table: Table = {"rewrite": [{"name": "fold-batchnorm"}, {"name": "fold-pad"}]}
    assert chosen(pipeline=table) == ["fold-batchnorm", "fold-pad"]
    assert chosen(pipeline={"rewrite": []}) == []


def test_a_kind_that_a_pipeline_does_not_list_runs_as_always() -> None:
    assert chosen(pipeline=plan("correct-bias")) == ["fold-pad", "fold-batchnorm"]


def test_skipping_wins_over_a_pipeline() -> None:
    table: Table = {"rewrite": [{"name": "fold-batchnorm"}, {"name": "fold-pad"}]}
    assert chosen(pipeline=table, skip="fold-pad") == ["fold-batchnorm"]


def test_options_reach_the_pass_in_their_own_type() -> None:
    config = piped(plan({"name": "fit-ranges", "percent": 99, "method": "minmax"}, "fit-weights"))
    found = arranged("plan", PLANS, config)
    assert [(p.name, p.percent, p.method) for p in found] == [
        ("fit-ranges", 99.0, "minmax"),
        ("fit-weights", 100.0, "mse"),
    ]
    assert isinstance(found[0].percent, float)


def test_a_whole_pipeline_is_fine() -> None:
    check_table({"rewrite": [{"name": "fold-pad"}], **plan("fit-ranges", "fit-weights")})


@pytest.mark.parametrize(
    ("table", "what", "todo"),
    [
        (
            {"rewrite": [{"name": "fold-bad"}]},
            "[[rewrite]] fold-bad: there is no such pass",
            "did you mean fold-pad?",
        ),
        (
            {"rewrite": [{"name": "zzz"}]},
            "[[rewrite]] zzz: there is no such pass",
            "see 'onnxq passes'",
        ),
        (
            {"rewrite": [{"name": "correct-bias"}]},
            "[[rewrite]] correct-bias: it is a plan pass",
            "list it under [[plan]]",
        ),
        (
            {"rewrite": [{"name": "infer-shapes"}]},
            "[[rewrite]] infer-shapes: it runs in any case, at its own place",
            "leave it out",
        ),
        (
            plan("correct-bias", "fit-ranges"),
            "[[plan]] lacks fit-weights",
            "nothing works without it, add it",
        ),
        (
            plan("fit-weights", "fit-ranges"),
            "[[plan]] fit-weights builds on fit-ranges",
            "list it after fit-ranges",
        ),
        (
            plan({"name": "fit-ranges", "precent": 9}),
            "[[plan]] fit-ranges: option 'precent' is unknown",
            "did you mean percent?",
        ),
        (
            plan({"name": "fit-ranges", "zzz": 9}),
            "[[plan]] fit-ranges: option 'zzz' is unknown",
            "it has percent, method",
        ),
        (
            plan({"name": "fit-weights", "zzz": 9}),
            "[[plan]] fit-weights: option 'zzz' is unknown",
            "it has none",
        ),
        (
            plan({"name": "fit-ranges", "percent": 101}),
            "[[plan]] fit-ranges: percent = 101 is not allowed",
            "give a number up to 100",
        ),
        (
            plan({"name": "fit-ranges", "method": "kl"}),
            "[[plan]] fit-ranges: method = 'kl' is not allowed",
            'give "mse" or "minmax"',
        ),
    ],
)
def test_a_wrong_pipeline_is_refused_with_its_key(table: Table, what: str, todo: str) -> None:
    assert refusal(table) == f"the pipeline: {what}; {todo}"


@pytest.mark.parametrize(("percent", "fits"), [(95.0, True), (99.0, False)])
def test_a_pipeline_may_not_contradict_another_option(percent: float, fits: bool) -> None:
    config = piped({"plan": [{"name": "fit-ranges", "percent": percent}]})
    passes = {"plan": [replace(PLANS[0], percent=95.0)]}
    needed = {"plan": ()}
    if fits:
        check_pipeline(config, passes, fixed=(), needed=needed)
        return
    with pytest.raises(ConfigError, match=r"percent = 99\.0 contradicts another option, .* 95\.0"):
        check_pipeline(config, passes, fixed=(), needed=needed)


def test_what_is_skipped_need_not_exist() -> None:
    table: Table = {"rewrite": [{"name": "gone"}, {"name": "fold-pad"}]}
    check_table(table, skip="gone")


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, True),
        ({"skip": "theirs"}, False),
        ({"passes": "theirs"}, True),
        ({"passes": "fold-pad"}, False),
        ({"pipeline": {"rewrite": [{"name": "theirs"}], "plan": []}}, True),
        ({"pipeline": {"rewrite": [], "plan": []}}, False),
        ({"pipeline": {"rewrite": []}}, True),
        ({"pipeline": {"rewrite": []}, "skip": "theirs"}, False),
    ],
)
def test_a_pass_of_unknown_kind_may_run(options: dict[str, object], runs: bool) -> None:
    assert may_run(Config.of(options), "theirs") is runs


def test_a_pass_on_request_is_asked_for_by_name_or_by_pipeline() -> None:
    def runs(config: Config) -> bool:
        passes = [*REWRITES, Pass("split", on_request=True)]
        return "split" in [p.name for p in arranged("rewrite", passes, config)]

    assert runs(Config(passes=("split",)))
    assert runs(piped({"rewrite": [{"name": "split"}]}))
    assert not runs(Config())


def test_a_plus_lets_a_pass_on_request_join_the_others() -> None:
    passes = [*REWRITES, Pass("split", on_request=True)]

    def names(asked: str) -> list[str]:
        return [
            p.name
            for p in arranged("rewrite", passes, Config.of({"passes": asked} if asked else {}))
        ]

    assert names("") == ["fold-pad", "fold-batchnorm"]
    assert names("+split") == ["fold-pad", "fold-batchnorm", "split"]
    assert names("fold-pad,+split") == ["fold-pad", "split"]
    assert may_run(Config.of({"passes": "+split"}), "fold-pad")


def test_an_unknown_name_behind_a_plus_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no pass 'fold-pat'; did you mean fold-pad\?"):
        check(passes="+fold-pat")
