"""What is installed is what is here, and every extra a message names exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest

import server

ROOT = Path(__file__).parents[1]
with (ROOT / "pyproject.toml").open("rb") as _file:
    PROJECT = tomllib.load(_file)
EXTRAS = PROJECT["project"]["optional-dependencies"]
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
# Packages whose import name is not their own name.
IMPORTS = {"opuslib-next-bundled": "opuslib_next", "prometheus-client": "prometheus_client"}


def tracked(*patterns: str) -> list[Path]:
    """Return the files git knows."""
    command = ["git", "ls-files", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def test_our_packages_are_the_ones_that_are_imported() -> None:
    """No other distribution has a `server` that would come first."""
    assert Path(server.__file__).parent == ROOT / "server"
    installed = packages_distributions()
    for package in PACKAGES:
        assert set(installed.get(package, ["sovits-live"])) == {"sovits-live"}


def test_wheel_has_every_package() -> None:
    """Each folder of the top level with code in it but the tests."""
    folders = {path.relative_to(ROOT).parts[0] for path in tracked("*.py")}
    assert {name for name in folders if not name.startswith(".")} - {"tests"} == set(PACKAGES)


def test_extras_in_messages_exist() -> None:
    """Whoever follows `pip install 'sovits-live[x]'` gets something."""
    for path in tracked("*.py", "*.md", "*.yaml", "*.service", ":!tests"):
        for names in re.findall(r"'(?:sovits-live|\.)\[([a-z0-9,-]+)\]'", path.read_text("utf-8")):
            assert set(names.split(",")) <= set(EXTRAS), f"{path}: {names}"


def test_every_dependency_is_used() -> None:
    """By our code: what nothing imports is not installed for everybody."""
    imported: set[str] = set()
    strings: list[str] = []
    for path in tracked("server/*.py", "engine/*.py", "clients/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.append(node.value)  # importlib.import_module("opuslib")
    for dependency in PROJECT["project"]["dependencies"]:
        name = re.split(r"[<>=;! ]", dependency)[0]
        module = IMPORTS.get(name, name)
        assert module in imported or module in strings, dependency


def test_an_installation_speaks_without_torch() -> None:
    """Nothing of the serving path imports it."""
    modules = "server.serve_command, server.app, engine.process_engine, engine.build"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_console_script_is_the_dispatcher() -> None:
    """Where the project is installed."""
    try:
        scripts = distribution("sovits-live").entry_points
    except PackageNotFoundError:
        pytest.skip("a checkout that is not installed")
    assert [entry.value for entry in scripts if entry.name == "sovits-live"] == ["server.cli:main"]
