"""The READMEs are true: commands parse, links lead somewhere, figures are in their files.

What they tell a reader to run is run by `pytest -m readme` (tests/test_readme_snippets.py).
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli import SUBCOMMANDS
from tests.readme import READMES, ROOT, block_with, blocks_of, links_of, prose_of, text_of

# How each block of README.md is checked, by words of its first command.
CHECKS = {
    "pip install . && sovits-live serve": ".ci/first_minute.py runs it in a new environment",
    'sovits-live say "你好': "test_readme_snippets",
    "sovits-live doctor": "test_readme_snippets",
    "sovits-live voice add": "test_readme_snippets",
    "sovits-live model pull": "test_readme_snippets, from a hub on this machine",
    "sovits-live model import": "test_readme_snippets",
    '-> {"type":"text"': "test_protocol_on_one_screen_is_the_protocol",
    "from clients.stream_client": "test_readme_snippets",
    "pip install -e '.[dev]' && pytest": ".ci/run does it, see test_ci_does_what_the_page_says",
    "sovits-live watermark new-key": "test_readme_snippets",
}
FOLDER_PAGES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("server", "engine", "export", "clients", "bench")
    for path in (ROOT / folder).rglob("*.md")
    if path.name == "README.md"
)


def outline(name: str) -> list[object]:
    """Return what both languages share: levels of headings, table sizes, lists, links, images."""
    shape: list[object] = []
    for line in prose_of(name).splitlines():
        if heading := re.match(r"#+ ", line):
            shape.append(heading.group())
        elif line.startswith("|"):
            shape.append(("row", line.count("|")))
        elif line.startswith("- "):
            shape.append("item")
    return shape


def test_both_languages_have_the_same_structure() -> None:
    """The same headings, tables and lists in the same order, and the same pictures."""
    english, chinese = READMES
    assert outline(english) == outline(chinese)
    pictures = [
        [link for link in links_of(name) if link.endswith((".png", ".svg"))] for name in READMES
    ]
    assert pictures[0] == pictures[1]


def test_both_languages_show_the_same_commands() -> None:
    """Block for block, but for comments."""
    english, chinese = (
        [(block.language, block.bare) for block in blocks_of(name)] for name in READMES
    )
    assert english == chinese


def test_every_block_is_checked_somewhere() -> None:
    """Each is found by exactly one entry of CHECKS, and each entry finds one."""
    found = [[words for words in CHECKS if words in b.code] for b in blocks_of("README.md")]
    assert [entry for matches in found for entry in matches] == list(CHECKS)
    assert all(len(matches) == 1 for matches in found)


def test_page_shows_the_product_and_its_speed() -> None:
    """A picture of the page in use, and a plot of a result in the repository."""
    links = links_of("README.md")
    assert "clients/web/screenshot.png" in links
    assert any(re.match(r"bench/results/.*\.(png|svg)$", link) for link in links)


@pytest.mark.parametrize("name", [*READMES, *FOLDER_PAGES])
def test_links_lead_somewhere(name: str) -> None:
    """Files exist, anchors are headings of the page."""
    page = ROOT / name
    headings = re.findall(r"^#+ (.*)$", prose_of(name), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
    for link in links_of(name):
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith(("http:", "https:")):
            assert (page.parent / link.partition("#")[0]).exists(), link


def commands_in(name: str) -> Iterator[str]:
    """Yield the `sovits-live` command lines of a page, in blocks and in the text."""
    for block in blocks_of(name):
        if block.language == "python":
            continue
        for line in block.commands:
            for part in re.split(r"&&|\|", line):
                if part.strip().startswith("sovits-live "):
                    yield part.strip()
    yield from re.findall(r"`(sovits-live [^`]+)`", prose_of(name))


@pytest.mark.parametrize("name", [*READMES, *FOLDER_PAGES])
def test_commands_are_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option and action is known; names in capitals stand for the reader's own."""
    for command in commands_in(name):
        words = shlex.split(command)[1:]
        assert words[0] in SUBCOMMANDS, command
        # A form such as `bench NAME --help` names no command of its own.
        if words[1:] and "..." not in words and not words[1].isupper():
            check_command(words, command)
    capsys.readouterr()


def check_command(words: list[str], command: str) -> None:
    """Parse a command line; what only names an action is asked for its help."""
    module = importlib.import_module(SUBCOMMANDS[words[0]].module)
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    is_whole = any(word.startswith("-") or "." in word for word in words[1:])
    try:
        parser.parse_args(words[1:] if is_whole else [*words[1:], "--help"])
    except SystemExit as exit:
        if exit.code == 0:
            return
        # A command may be named without what it needs: `sovits-live voice style add`.
        pytest.fail(f"{command!r} is not understood")


def test_protocol_on_one_screen_is_the_protocol() -> None:
    """Its messages and their fields are in the published schema."""
    schema = json.loads(
        (ROOT / "server/schema_files/protocol.schema.json").read_text(encoding="utf-8")
    )
    known = {
        body["properties"]["type"]["const"]: set(body["properties"])
        for body in schema["$defs"].values()
        if "const" in body.get("properties", {}).get("type", {})
    }
    screen = block_with("README.md", '-> {"type":"text"').code
    shown = re.findall(r'\{"type":"([\w.]+)"((?:[^{}]|\{\.\.\.\})*)\}', screen)
    assert len(shown) >= 7
    for kind, rest in shown:
        assert set(re.findall(r'"(\w+)":', rest)) <= known[kind], kind
    for name in re.findall(r"`([a-z.]+)`", prose_of("README.md").split("one screen")[1]):
        if name in ("cancel", "flush", "end", "ack", "update", "ping", "context.cancelled"):
            assert name in known


@pytest.mark.parametrize("name", [*READMES, "bench/README.md"])
def test_figures_are_in_their_files(name: str) -> None:
    """Every number of a row is, as rounded there, in the result the row names (times 1000: ms)."""
    rows = re.findall(r"^\|[^|]*\|([^|]*)\| `(bench/results/[^`]+)` \|$", prose_of(name), re.M)
    assert len(rows) >= 5
    for figures, path in rows:
        check_figures(re.findall(r"\d+(?:\.\d+)?", figures), path)


@pytest.mark.parametrize("name", READMES)
def test_figures_of_items_are_in_their_files(name: str) -> None:
    """Every decimal of a list's item that names a result is in it, as in the tables."""
    items = re.findall(r"^- (?:.|\n  )+", prose_of(name), re.M)
    naming = [item for item in items if "`bench/results/" in item]
    assert naming
    for item in naming:
        (path,) = re.findall(r"`(bench/results/[^`]+)`", item)
        check_figures(re.findall(r"\d+\.\d+", item), path)


def check_figures(shown: list[str], path: str) -> None:
    """Find each figure, as rounded, among the numbers of a result (times 1000: ms)."""
    assert shown
    values = list(numbers(json.loads((ROOT / path).read_text())))
    for text in shown:
        digits = len(text.partition(".")[2])
        assert any(
            round(value * scale, digits) == float(text) for value in values for scale in (1, 1000)
        ), f"{text} is not in {path}"


def numbers(value: object) -> Iterator[float]:
    """Yield every number of a JSON document."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def test_python_of_all_pages_is_python() -> None:
    """It parses, in an async function where it awaits, and imports what there is."""
    for name in [*READMES, *FOLDER_PAGES]:
        for block in blocks_of(name):
            if block.language != "python":
                continue
            body = "\n".join(f"    {line}" for line in block.code.splitlines())
            tree = ast.parse(f"async def snippet():\n{body}")
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = importlib.import_module(node.module)
                    assert all(hasattr(module, alias.name) for alias in node.names)


def test_ci_does_what_the_page_says() -> None:
    """The developer's command, and the parts the page names."""
    script = (ROOT / ".ci" / "run").read_text()
    install, test = block_with("README.md", ".[dev]").commands[0].split(" && ")
    assert install.removeprefix("pip install ") in script and test in script
    for part in ("ruff check", "mypy", "lint-imports", "coverage", "readme", "browser", "compat"):
        assert part in script, part


@pytest.mark.parametrize("script", ["architecture.py", "plots.py"])
def test_pictures_are_up_to_date(script: str) -> None:
    """Drawn again from the imports and the results of today they are the same."""
    command = [sys.executable, str(ROOT / ".ci" / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_name_no_path_of_a_machine() -> None:
    """Nothing of the machine it was written on."""
    for name in [*READMES, *FOLDER_PAGES]:
        assert not re.search(r"(?<![\w.])/(?:work|tmp|root)/", text_of(name)), name


def test_layout_table_names_every_folder() -> None:
    """Of the top level, and no other."""
    table = set(re.findall(r"^\| \[(\w+)/\]\(\w+\)", prose_of("README.md"), re.MULTILINE))
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    folders = {Path(path).parts[0] for path in listed if "/" in path}
    assert table == {folder for folder in folders if not folder.startswith(".")}
