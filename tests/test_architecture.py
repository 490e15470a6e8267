"""The house's rules that no linter checks."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import onnxq

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = sorted(
    path
    for folder in ("onnxq", "passes")
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_relative_to(ROOT / "onnxq" / "passes")
)
LONGEST_FILE = 320
LONGEST_FUNCTION = 60

each_file = pytest.mark.parametrize("path", PRODUCT, ids=lambda p: str(p.relative_to(ROOT)))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(path: Path) -> set[str]:
    """Full names of all that ``path`` imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_the_walk_finds_both_folders() -> None:
    names = {str(path.relative_to(ROOT)) for path in PRODUCT}

    assert {"onnxq/config.py", "passes/__init__.py"} <= names


def test_every_package_on_disk_is_shipped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    on_disk = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in PRODUCT
        if path.name == "__init__.py"
    }
    names = {n if n.startswith("onnxq") else f"onnxq.{n}" for n in on_disk}

    assert sorted(settings["tool"]["setuptools"]["packages"]) == sorted(names)


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in PRODUCT}

    assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_every_data_file_is_shipped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]
    shipped = {
        path
        for package, globs in patterns.items()
        for pattern in globs
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    on_disk = {
        path
        for path in (ROOT / "onnxq").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".pyi")
    }

    assert on_disk == shipped


def test_passes_is_a_link_to_the_folder_beside_the_package() -> None:
    link = ROOT / "onnxq" / "passes"

    assert link.is_symlink()
    assert link.readlink() == Path("../passes")


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"onnxruntime", "onnxruntime_extensions", "scipy", "onnxscript", "onnx_ir", "numpy"}

    assert not loaded_by("import onnxq") & heavy


def test_the_public_api_exists() -> None:
    for name in onnxq.__all__:
        assert getattr(onnxq, name) is not None
        assert name in dir(onnxq)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onnxq.nothing


@each_file
def test_names_in_all_exist(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    dotted = ".".join(part for part in ("onnxq", *parts) if part != "__init__")
    module = importlib.import_module(dotted.replace("onnxq.onnxq", "onnxq"))

    assert [name for name in getattr(module, "__all__", []) if not hasattr(module, name)] == []


@each_file
def test_onnxruntime_is_imported_in_runtime_alone(path: Path) -> None:
    if path.is_relative_to(ROOT / "onnxq" / "runtime"):
        return
    assert not [n for n in imported(path) if n.partition(".")[0].startswith("onnxruntime")]


@each_file
def test_networkx_is_imported_in_graph_and_plan_alone(path: Path) -> None:
    if any(path.is_relative_to(ROOT / "onnxq" / room) for room in ("graph", "plan")):
        return
    assert not [n for n in imported(path) if n.partition(".")[0] == "networkx"]


@each_file
def test_onnx_helper_is_imported_nowhere(path: Path) -> None:
    assert not [n for n in imported(path) if n.startswith("onnx.helper")]


@each_file
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_FILE


@each_file
def test_functions_are_short(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]

    assert long == []


@each_file
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(tree(path))
