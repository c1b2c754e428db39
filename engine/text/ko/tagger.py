"""Where a Korean sentence has the endings, verb stems and particles its sound rules ask for."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol


class Tagger(Protocol):
    """What cuts a sentence into morphemes with mecab-ko-dic's tags."""

    def pos(self, sentence: str) -> list[tuple[str, str]]:
        """Return morphemes with their tags, "VV+ETM" for several in one."""
        ...


@cache
def mecab() -> Tagger:
    """Return the tagger; its dictionary is mapped into memory, not read."""
    from mecab import MeCab

    tagger: Any = MeCab()
    return _MeCab(tagger)


class _MeCab:
    def __init__(self, tagger: Any) -> None:
        self._tagger = tagger

    def pos(self, sentence: str) -> list[tuple[str, str]]:
        return [(str(surface), str(tag)) for surface, tag in self._tagger.pos(sentence)]


def tags(sentence: str, tagger: Tagger) -> list[str]:
    """Return, for every character, the tag of the morpheme that ends with it, else "".

    Of a morpheme with several tags the last counts. All are "" if the tagger changed the text, as
    it does with characters it cannot place.
    """
    found = [""] * len(sentence)
    places = [index for index, char in enumerate(sentence) if char != " "]
    morphemes = tagger.pos(sentence)
    if "".join(surface for surface, _ in morphemes) != sentence.replace(" ", ""):
        return found
    at = 0
    for surface, tag in morphemes:
        at += len(surface)
        found[places[at - 1]] = tag.rpartition("+")[2]
    return found
