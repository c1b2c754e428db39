"""Cleaning of text as it arrives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.text_intake import TextIntake


def feed_all(parts: list[str]) -> str:
    """Return what comes out for `parts`."""
    intake = TextIntake()
    return "".join(map(intake.feed, parts)) + intake.finish()


def test_joins_a_pair_cut_between_deltas() -> None:
    """A JavaScript client may cut an emoji in half."""
    assert feed_all(["a\ud83d", "\ude00b"]) == "a😀b"


def test_replaces_lone_surrogates_and_controls() -> None:
    """What cannot be encoded or spoken keeps its place."""
    assert feed_all(["a\ud83d", "b\x00\x1b\tc\n"]) == "a�b  \tc\n"
    assert feed_all(["x\ud83d"]) == "x�"


@given(st.lists(st.text(alphabet=st.characters(codec="utf-16", exclude_categories=[]))))
def test_any_cut_gives_the_same_text(parts: list[str]) -> None:
    """The result does not depend on how the text was cut, and always encodes."""
    whole = feed_all(["".join(parts)])
    assert feed_all(parts) == whole
    whole.encode()
