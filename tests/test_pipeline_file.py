"""The pipeline file: what it holds, and how a wrong one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.errors import ConfigError
from onnxq.pipeline_file import Pipeline, Step

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
[[plan]]
name = "fit-activations"
method = "percentile"
percent = 99.9

[[plan]]
name = "fit-weights"

[[rewrite]]
name = "fold-pad"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_lists_passes_in_order_with_options(tmp_path: Path) -> None:
    found = Pipeline.of(written(tmp_path, TEXT))
    assert found.steps("plan") == (
        Step("fit-activations", (("method", "percentile"), ("percent", 99.9))),
        Step("fit-weights"),
    )
    assert found.steps("rewrite") == (Step("fold-pad"),)
    assert found.names == {"fit-activations", "fit-weights", "fold-pad"}
    assert found.source == str(tmp_path / "own.toml")


def test_what_a_file_does_not_say_is_not_empty(tmp_path: Path) -> None:
    found = Pipeline.of(written(tmp_path, "rewrite = []"))
    assert found.rewrite == ()
    assert found.plan is None


def test_a_mapping_is_the_same_as_a_file(tmp_path: Path) -> None:
    found = Pipeline.of(written(tmp_path, TEXT))
    again = Pipeline.of(found.to_dict())
    assert again == found
    assert again.source == "the pipeline"
    assert list(found.to_dict()) == ["rewrite", "plan"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[plan]\n", "is no valid TOML: "),
        ('[[plans]]\nname = "a"', ": key 'plans' is unknown; there are [[rewrite]] and [[plan]]"),
        ("plan = 3", ": plan is no list of tables; head each pass with [[plan]]"),
        ('plan = ["fit-weights"]', ": plan is no list of tables; head each pass with [[plan]]"),
        ("[plan]", ": plan is no list of tables; head each pass with [[plan]]"),
        ("[[plan]]\npercent = 9", ': [[plan]] number 1 needs name = "…"; give the name of a pass'),
        ("[[rewrite]]\nname = 3", ': [[rewrite]] number 1 needs name = "…"; give the name of a'),
        ('[[plan]]\nname = "a"\n[[plan]]\nname = "a"', ": [[plan]] lists a twice; leave one out"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        Pipeline.of(file)
    assert str(caught.value).startswith(f"{file}{message}" if message[0] == ":" else f"{file} ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Pipeline.of(tmp_path / "none.toml")
    expected = f"cannot read {tmp_path / 'none.toml'}: No such file or directory; check the path"
    assert str(caught.value) == expected


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no valid TOML"):
        Pipeline.of(file)
