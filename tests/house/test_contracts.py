"""The house's rules hold, and each would fail if one line broke it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "plimsoll"
PURE = ("errors.py", "units.py", "fleet", "facts", "plan", "policy", "engines")
LONGEST_FILE = 400  # lines; a longer one wants to be two
# The commands are imported on demand: docs/decisions/0003-commands-on-demand.md.
IMPORTS_ON_DEMAND = {"cli/demand.py"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def pure_modules() -> list[Path]:
    return [p for p in modules() if p.relative_to(SOURCE).parts[0] in PURE]


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={"PYTHONPATH": str(tree / "src"), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def copy_of_the_house(folder: Path) -> Path:
    shutil.copytree(
        ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.gguf")
    )
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def test_the_import_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("plan/types.py", "import time", "no I/O"),
        ("policy/decide.py", "import asyncio", "no I/O"),
        ("fleet/__init__.py", "from pathlib import Path", "no I/O"),
        ("engines/llamacpp.py", "import socket", "no I/O"),
        ("facts/__init__.py", "import os", "no I/O"),
        ("units.py", "import random", "no I/O"),
        ("plan/types.py", "from plimsoll.engines import protocol", "lower floors"),
        ("gateway/__init__.py", "from plimsoll.worlds import local", "lower floors"),
        ("fleet/__init__.py", "from plimsoll import facts", "lower floors"),
        ("gateway/__init__.py", "import subprocess", "starts processes"),
        ("cli/files.py", "import xllamacpp", "one adapter"),
    ],
)
def test_one_line_breaks_a_contract(tmp_path: Path, module: str, line: str, broken: str) -> None:
    tree = copy_of_the_house(tmp_path)
    target = tree / "src" / "plimsoll" / module
    target.write_text(target.read_text() + f"\n{line}  # broken on purpose\n")
    result = lint_imports(tree)
    assert result.returncode == 1, result.stdout + result.stderr
    report = result.stdout.split("Broken contracts", 1)
    assert len(report) == 2, result.stdout
    assert broken in report[1], report[1]


def test_every_room_has_its_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    placed = {name.strip().removeprefix("plimsoll.") for row in layers for name in row.split("|")}
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__pycache__", "py"} - placed == set()


@pytest.mark.parametrize("path", pure_modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_pure_floors_open_nothing_print_nothing_and_read_no_date(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name):
            assert called.id not in {"open", "print", "input", "eval", "exec", "__import__"}
        if isinstance(called, ast.Attribute):
            assert called.attr not in {"now", "today", "utcnow"}, ast.unparse(node)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_our_own_modules_are_imported_at_the_top(path: Path) -> None:
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) or id(node) in top:
            continue
        names = (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
        own = [name for name in names if name.split(".")[0] == "plimsoll"]
        assert not own, f"line {node.lineno} imports {own} below the top"
    if "importlib.import_module(" in path.read_text():
        assert str(path.relative_to(SOURCE)) in IMPORTS_ON_DEMAND


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_module_has_a_promise_and_fits(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module starts with its promise"
    assert len(text.splitlines()) <= LONGEST_FILE


def test_the_package_version_is_in_the_changelog() -> None:
    version = (SOURCE / "__init__.py").read_text().split('__version__ = "')[1].split('"')[0]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_fits_on_its_page_and_starts_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    shell = [line for line in lines if line.startswith(("make ", "$ make ", "curl ", "pip "))]
    assert [line.split("#")[0].strip() for line in shell[:2]] == ["make up", "make test"]
