"""The table of error codes: what is published is what is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import ERROR_CODES, ErrorCode, error_code

ROOT = Path(__file__).parents[2]


def test_every_published_code_has_a_sender() -> None:
    """Clients write branches for what the schema lists: none of them is for nothing."""
    sources = {*ROOT.glob("server/**/*.py"), *ROOT.glob("engine/**/*.py")}
    sources.remove(ROOT / "server" / "errors.py")  # the table itself
    text = "".join(source.read_text("utf-8") for source in sorted(sources))
    assert {code for code in ERROR_CODES if f'"{code}"' not in text} == set()


@pytest.mark.parametrize("entry", ERROR_CODES.values(), ids=lambda entry: entry.code)
def test_close_codes_tell_the_status(entry: ErrorCode) -> None:
    """4000 + status, or one of the standard's own."""
    assert entry.close == 4000 + entry.status or entry.close in (1003, 1011, 1012, 1013)


def test_a_foreign_code_is_internal() -> None:
    """What the engine raises under a name the wire does not have."""
    assert error_code("bad_checkpoint").code == "internal"
