"""``onnxq.toml``: what it may hold, and what counts more."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from onnxq.config import Config
from onnxq.errors import ConfigError
from onnxq.options import READERS
from onnxq.project_file import COMMAND_LINE, DEFAULT, ProjectFile

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, text: str) -> Path:
    file = folder / "onnxq.toml"
    file.write_text(text, "utf-8")
    return file


def test_without_a_file_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert ProjectFile.of(None) == ProjectFile()


def test_the_file_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 'weights = 4\nweight-granularity = "tensor"\n')
    monkeypatch.chdir(tmp_path)

    assert ProjectFile.of(None) == ProjectFile(
        "onnxq.toml", {"weights": 4, "weight_granularity": "tensor"}
    )


def test_every_option_is_a_key(tmp_path: Path) -> None:
    config = Config()
    lines = [
        f"{name.replace('_', '-')} = {_toml(value)}"
        for name in READERS
        if (value := getattr(config, name)) is not None
    ]

    found = ProjectFile.of(written(tmp_path, "\n".join(lines)))

    assert Config.of(found.options) == config


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def test_what_is_typed_counts_more_and_every_origin_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, "weights = 4\nsamples = 8\n")
    given = {"weights": 8, "samples": 32, "seed": 0}

    options, origins = ProjectFile.of(file).merged(given, {"samples"})

    assert options == {"weights": 4, "samples": 32, "seed": 0}
    assert origins == {"weights": str(file), "samples": COMMAND_LINE, "seed": DEFAULT}


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "feeds.py").touch()
    paths = 'data = "images"\nreport = "r.html"\npareto = "f.csv"\n'
    text = f'{paths}target = "own.toml"\npreprocess = "yolo"\n'

    found = ProjectFile.of(written(tmp_path, text)).options

    assert found == {
        "data": str(tmp_path / "images"),
        "report": str(tmp_path / "r.html"),
        "pareto": str(tmp_path / "f.csv"),
        "target": str(tmp_path / "own.toml"),
        "preprocess": "yolo",
    }
    code = written(tmp_path, 'data = "feeds.py:samples"\n')
    assert ProjectFile.of(code).options == {"data": f"{tmp_path}/feeds.py:samples"}
    module = written(tmp_path, 'data = "package.feeds:samples"\n')
    assert ProjectFile.of(module).options == {"data": "package.feeds:samples"}


def test_a_pipeline_stands_in_the_file_or_in_one_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[[rewrite]]\nname = "fold-pad"\n')
    inside = written(tmp_path, '[[pipeline.rewrite]]\nname = "fold-pad"\n')
    first = Config.of(ProjectFile.of(inside).options)
    beside = written(tmp_path, 'pipeline = "own.toml"\n')

    assert Config.of(ProjectFile.of(beside).options) == first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wieghts = 4", "key 'wieghts' is unknown; did you mean weights?"),
        ("model = 'net.onnx'", "key 'model' is unknown; keys are the options of onnxq optimize"),
        ("keep_float = ['a']", "key 'keep_float' is unknown; did you mean keep-float?"),
        ("weights = 5", "--weights 5 is not allowed; give 2, 3, 4 or 8"),
        ("data = 3", "--data 3 is not allowed; give a path or module:callable"),
        ("check = 'yes'", "--check 'yes' is not allowed"),
        ("json = '-'", "--json - is not allowed"),
        ("weights = ", "is no valid TOML"),
    ],
)
def test_what_is_wrong_names_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        ProjectFile.of(file)

    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.toml"):
        ProjectFile.of(tmp_path / "missing.toml")


def test_the_documented_file_can_be_read(tmp_path: Path) -> None:
    import onnxq.project_file as module

    lines = (module.__doc__ or "").split("\n\n", 1)[1].splitlines()
    text = "\n".join(line[4:] for line in lines if line.startswith("    "))

    assert ProjectFile.of(written(tmp_path, text)).options.keys() == tomllib.loads(text).keys()
