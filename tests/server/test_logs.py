"""Log lines for people and for machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from server import logs


@pytest.fixture
def _restored() -> Iterator[None]:
    """Give pytest its handlers back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was written."""
    return capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("_restored")
def test_json_lines_carry_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line, with the trace of an exception."""
    logs.set_up("info", "json")
    logger = logging.getLogger("server.test")
    logger.debug("not shown")
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("failed", extra={"ctx": "a\nb"})
    line = json.loads(lines(capsys)[0])
    assert (line["event"], line["ctx"], line["level"]) == ("failed", "a\nb", "error")
    assert "ValueError: boom" in line["trace"]
    assert line["time"].endswith("Z")


@pytest.mark.usefixtures("_restored")
def test_human_lines_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    """A line break in a value or an event stays escaped."""
    logs.set_up("debug", "human")
    logging.getLogger("t").info("opened\nERROR fake", extra={"ctx": "x\nERROR y", "n": 3})
    (line,) = lines(capsys)
    assert line.endswith(r'INFO    opened\nERROR fake ctx="x\nERROR y" n=3')


@pytest.mark.usefixtures("_restored")
def test_human_lines_show_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the line."""
    logs.set_up("info", "human")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("t").exception("failed")
    assert lines(capsys)[-1] == "ValueError: boom"
