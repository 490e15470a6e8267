"""Callables by name: how the name is read, how it is imported, what is refused."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from onnxq.data import imported
from onnxq.data.imported import ImportedCallable
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    modules = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(text: str) -> object:
    named = ImportedCallable.parse(text)
    assert named is not None
    return named.load()()


def refusal(text: str) -> str:
    with pytest.raises(DataError) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "home", "name"),
    [
        ("calib:feeds", "calib", "feeds"),
        ("my.pkg.calib:feeds", "my.pkg.calib", "feeds"),
        ("calib:Loader.make", "calib", "Loader.make"),
        ("calib.py:feeds", "calib.py", "feeds"),
        ("/a b/my-calib.py:feeds", "/a b/my-calib.py", "feeds"),
        (r"C:\data\calib.py:feeds", r"C:\data\calib.py", "feeds"),
    ],
)
def test_names_are_read(text: str, home: str, name: str) -> None:
    named = ImportedCallable.parse(text)
    assert named == ImportedCallable(text, home, name)


@pytest.mark.parametrize(
    "text",
    [
        r"C:\x", "C:/x", r"C:\images\a.png", "images", "a/b:c", "a-b:c", ":feeds", "calib:",
        "calib.py:", "calib:1", "http://host", "a:b:c", "calib.py", "",
    ],
)  # fmt: skip
def test_paths_are_no_names(text: str) -> None:
    assert ImportedCallable.parse(text) is None


def test_a_letter_is_a_drive_only_where_there_are_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ImportedCallable.parse("C:x") is not None
    monkeypatch.setattr(imported, "_HAS_DRIVES", True)
    assert ImportedCallable.parse("C:x") is None
    assert ImportedCallable.parse("CD:x") is not None


def test_what_exists_is_a_path(here: Path) -> None:
    (here / "a:b").mkdir()
    assert ImportedCallable.parse("a:b") is None


def test_a_module_of_the_current_folder_is_imported(here: Path) -> None:
    (here / "my_calib.py").write_text("def feeds(): return 1")
    assert load("my_calib:feeds") == 1


def test_a_module_in_a_package_is_imported(here: Path) -> None:
    (here / "my_pkg").mkdir()
    (here / "my_pkg" / "calib.py").write_text("class Loader:\n  make = staticmethod(lambda: 2)")
    assert load("my_pkg.calib:Loader.make") == 2


def test_a_file_elsewhere_is_imported_with_its_neighbours(here: Path) -> None:
    (here / "far").mkdir()
    (here / "far" / "my_helper.py").write_text("LEVEL = 3")
    (here / "my_other.py").write_text("LEVEL = 4")
    (here / "far" / "my-calib.py").write_text(
        "import my_helper\ndef feeds():\n import my_other\n return my_helper.LEVEL, my_other.LEVEL"
    )
    assert load("far/my-calib.py:feeds") == (3, 4)


def test_a_file_with_the_name_of_a_known_module_is_imported(here: Path) -> None:
    (here / "json.py").write_text("def feeds(): return 5")
    known = sys.modules.get("json")
    assert load("json.py:feeds") == 5
    assert sys.modules.get("json") is known


def test_a_file_may_define_what_looks_up_its_module(here: Path) -> None:
    (here / "my_calib.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Loader:\n  count: int = 3"
    )
    assert repr(load("my_calib.py:Loader")) == "Loader(count=3)"


def test_a_changed_file_is_read_again(here: Path) -> None:
    for level in (6, 7):
        (here / "my_calib.py").write_text(f"def feeds(): return {level}")
        assert load("my_calib.py:feeds") == level


def test_the_current_folder_shadows_nothing_later(here: Path) -> None:
    (here / "my_calib.py").write_text("def feeds(): return 1")
    before = list(sys.path)
    load("my_calib:feeds")
    assert sys.path[: len(before)] == before
    assert sys.path[len(before) :] == [str(here)]


def test_a_class_is_a_callable(here: Path) -> None:
    (here / "my_calib.py").write_text("class Loader:\n  pass")
    assert type(load("my_calib:Loader")).__name__ == "Loader"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_gone:f", "there is no module 'my_gone' in the current folder or installed; check"),
        ("my_calib.x:f", "there is no module 'my_calib.x' in the current folder or installed;"),
        ("gone.py:f", "there is no file gone.py; check the path"),
        ("my_calib:gone", "has no 'gone', it has feeds, needs, stop; check the name"),
        ("my_calib:feeds.gone", "has no 'gone', it has feeds, needs, stop; check the name"),
    ],
)
def test_what_is_not_there_is_named(here: Path, text: str, message: str) -> None:
    (here / "my_calib.py").write_text(CODE)
    line = refusal(text)
    assert line.startswith(f"data {text}: ")
    assert message in line


CODE = """from math import floor
LEVEL = 3
def feeds(): return 1
def needs(path, count=3): return 1
def stop(): raise SystemExit(0)
def _hidden(): return 1
"""


def test_what_is_not_callable_is_refused(here: Path) -> None:
    (here / "my_calib.py").write_text(CODE)
    assert refusal("my_calib:LEVEL") == (
        "data my_calib:LEVEL is a int, not a callable; name a function that yields feeds"
    )


def test_what_needs_arguments_is_refused(here: Path) -> None:
    (here / "my_calib.py").write_text(CODE)
    assert refusal("my_calib:needs") == (
        "data my_calib:needs takes arguments (path, count=3), but is called without;"
        " give each a default"
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nx.gone", "at bad_calib.py:2 with AttributeError: 'int' object has no attribute"),
        ("import my_gone", "at bad_calib.py:1 with ModuleNotFoundError: No module named 'my_gone'"),
        ("\ndef (", "at bad_calib.py:2 with SyntaxError: invalid syntax; mend it"),
        ("import json\n\njson.loads('{')", "at bad_calib.py:3 with JSONDecodeError: Expecting"),
        ("raise SystemExit(0)", "at bad_calib.py:1 with SystemExit: 0; mend it"),
        ("raise ValueError('a\\nb')", "at bad_calib.py:1 with ValueError: a b; mend it"),
    ],
    ids=["attribute", "import", "syntax", "library", "exit", "lines"],
)
@pytest.mark.parametrize("home", ["bad_calib", "bad_calib.py"])
def test_code_that_fails_names_its_line(here: Path, home: str, code: str, message: str) -> None:
    (here / "bad_calib.py").write_text(code)
    line = refusal(f"{home}:feeds")
    assert line.startswith(f"data {home}:feeds: the import failed {message}")
    assert "bad_calib" not in sys.modules


def test_an_attribute_that_fails_names_its_line(here: Path) -> None:
    (here / "my_calib.py").write_text("def __getattr__(name):\n  return 1 / 0")
    assert refusal("my_calib:feeds") == (
        "data my_calib:feeds: the look-up failed at my_calib.py:2 with ZeroDivisionError:"
        " division by zero; mend it"
    )
