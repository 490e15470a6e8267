"""The documentation: every command and every line of Python in it runs, and it can be built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import onnxq
from onnxq.cli import app
from tools.docs.help_texts import on_page_content, on_page_markdown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "tools" / "docs"
PAGES = sorted((DOCS / "pages").rglob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each block; those of "sh" and "python" are to be run."""
    return BLOCK.findall(page.read_text("utf-8"))


RUN = [p for p in PAGES if {"sh", "python"} & {language for language, _ in blocks(p)}]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder as the pages suppose it: models and tools in it, onnxq to be called."""
    for name in ("models", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = tmp_path / "bin" / "onnxq"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m onnxq "$@"\n')
    command.chmod(0o755)
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize("page", RUN, ids=lambda p: p.stem)
def test_every_command_runs(page: Path, checkout: Path) -> None:
    paths = os.pathsep.join([str(checkout / "bin"), os.environ["PATH"]])
    home = str(Path(onnxq.__file__).parents[1])
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": home, "OMP_NUM_THREADS": "1"}
    for language, text in blocks(page):
        words = {
            "sh": ["bash", "-euo", "pipefail", "-c", text],
            "python": [sys.executable, "-c", text],
        }.get(language)
        if words is None:
            continue
        done = subprocess.run(
            words, cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        sums = [line.split()[0] for line in done.stdout.splitlines() if "cksum" in text]
        assert len(set(sums)) <= 1


def test_every_job_has_a_tutorial_with_commands() -> None:
    names = {page.stem for page in RUN if page.parent.name == "tutorials"}

    assert names == {"classifier", "detector", "transformer", "firmware", "ci"}


def test_shell_commands_stand_in_blocks_that_are_run() -> None:
    """Only what installs, or shows an answer, may stand in another kind of block."""
    for page in PAGES:
        for language, text in blocks(page):
            if language not in ("sh", "console"):
                assert not re.search(r"^(\$ )?onnxq ", text, re.MULTILINE), page


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r": ([\w/]+\.md)$", (DOCS / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)

    assert sorted(listed) == [str(page.relative_to(DOCS / "pages")) for page in PAGES]


def test_the_reference_has_the_help_of_every_command() -> None:
    text = (DOCS / "pages" / "reference" / "commands.md").read_text("utf-8")

    names = {str(found.callback.__name__) for found in app.registered_commands if found.callback}
    assert names == set(re.findall(r"output: onnxq (\w+) --help", text))


def test_a_mark_becomes_what_the_command_prints() -> None:
    made = on_page_markdown("a\n<!-- output: onnxq --version -->\nb")

    assert made == f"a\n```text\nonnxq {onnxq.__version__}\n```\nb"


def test_roles_of_docstrings_are_left_out() -> None:
    assert on_page_content("see :class:<code>Config</code>: it") == "see <code>Config</code>: it"


@pytest.mark.slow
def test_it_can_be_built(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
    words = ["build", "--strict", "-q", "-f", str(DOCS / "mkdocs.yml"), "-d", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )

    assert done.returncode == 0, done.stderr
    made = (tmp_path / "reference" / "python" / "index.html").read_text("utf-8")
    assert "onnxq.optimize" in made
    linked = re.findall(r'(?:src|<link[^>]*href)="(https?:[^"]*)"', made)
    assert linked == []
