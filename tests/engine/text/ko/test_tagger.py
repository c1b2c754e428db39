from __future__ import annotations

import pytest

from engine.text.ko.tagger import mecab, tags


class Scripted:
    """Answers with the morphemes it was given."""

    def __init__(self, *morphemes: tuple[str, str]) -> None:
        self._morphemes = list(morphemes)

    def pos(self, sentence: str) -> list[tuple[str, str]]:
        return self._morphemes


def test_a_tag_stands_at_the_end_of_its_morpheme() -> None:
    """Blanks have none; of several tags the last counts."""
    tagger = Scripted(("갈", "VV+ETM"), ("곳", "NNG"), ("이", "JKS"))
    assert tags("갈 곳이", tagger) == ["ETM", "", "NNG", "JKS"]


def test_a_tagger_that_changes_the_text_is_not_believed() -> None:
    """Its morphemes cannot be placed."""
    assert tags("갈곳", Scripted(("갈", "VV"))) == ["", ""]


def test_mecab_finds_stems() -> None:
    """The packaged dictionary works without a network."""
    pytest.importorskip("mecab")
    assert tags("신을 신고", mecab())[3] == "VV"
