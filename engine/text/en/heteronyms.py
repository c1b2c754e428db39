"""Words with two pronunciations, told apart by part of speech and by a few words around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from engine.text import packaged

_BASE_FORM_AFTER = frozenset(
    "to will would can could shall should must may might do does did don't doesn't didn't can't "
    "won't couldn't shouldn't wouldn't let's please cannot never'll i'll you'll we'll they'll "
    "he'll she'll".split()
)
_PARTICIPLE_AFTER = frozenset(
    "have has had having haven't hasn't hadn't be been being is are was were am i've you've we've "
    "they've isn't aren't wasn't weren't well widely".split()
)
_ADVERBS = frozenset("not never ever always just already only often also carefully".split())
_PAST_TIME = frozenset("yesterday ago last earlier once previously".split())
_SINGULAR = frozenset("he she it who".split())
_METAL = frozenset("pipe pipes paint poisoning acid battery zinc copper tin mercury weighs".split())
_FISHING = frozenset("fish fishing lake river caught catch sea trout".split())
_BEFORE_REQUEST = frozenset("please . ! ? , now then".split())
_OBJECTS = frozenset(
    "the a an this that these those it them him her us me my your our his their all any".split()
)
_READ_NOW, _READ_PAST = ("R", "IY1", "D"), ("R", "EH1", "D")


@dataclass(frozen=True, slots=True)
class Heteronym:
    """A spelling with two pronunciations.

    Attributes:
        tags: Penn Treebank tags that take `matching`; "V*" stands for every tag that begins so.
        matching: Phones with one of these tags.
        otherwise: Phones with any other tag.
    """

    tags: tuple[str, ...]
    matching: tuple[str, ...]
    otherwise: tuple[str, ...]

    def phones(self, tag: str) -> tuple[str, ...]:
        """Return the pronunciation for a word tagged `tag`."""
        fits = any(
            tag.startswith(want[:-1]) if want.endswith("*") else tag == want for want in self.tags
        )
        return self.matching if fits else self.otherwise


@cache
def heteronyms() -> Mapping[str, Heteronym]:
    """Return the packaged heteronyms by spelling (lower case)."""
    table = {}
    for line in packaged.lines("en_heteronyms.txt"):
        word, matching, otherwise, tags = line.split("|")
        table[word] = Heteronym(
            tuple(tags.split()), tuple(matching.split()), tuple(otherwise.split())
        )
    return MappingProxyType(table)


def in_context(words: Sequence[str], index: int) -> tuple[str, ...] | None:
    """Return the pronunciation of `words[index]` where its neighbours decide it, else None.

    For the few words whose two readings share a part of speech, or that the tagger confuses.

    Args:
        words: The sentence in lower case, as tokens.
        index: Which of them is asked for.
    """
    word = words[index]
    after = words[index + 1] if index + 1 < len(words) else ""
    if word == "read":
        return _read(words, index)
    if word == "used" and after == "to":
        before = _previous(words, index)
        passive = before in _PARTICIPLE_AFTER and before not in ("i've", "we've", "have", "had")
        return ("Y", "UW1", "Z", "D") if passive else ("Y", "UW1", "S", "T")
    if word == "lead":
        return ("L", "IY1" if _METAL.isdisjoint(words) else "EH1", "D")
    if word == "bass":
        return ("B", "EY1" if _FISHING.isdisjoint(words) else "AE1", "S")
    if word == "live" and (
        after in ("stream", "streaming", "streams", "music", "show", "broadcast", "chat", "room")
        or _previous(words, index) in ("go", "goes", "going", "went", "is", "are", "be", "we're")
    ):
        return ("L", "AY1", "V")
    return None


def is_imperative(words: Sequence[str], index: int) -> bool:
    """True for a verb that opens a request, "Close the door", which taggers take for a noun."""
    opens = index == 0 or words[index - 1] in _BEFORE_REQUEST
    return opens and index + 1 < len(words) and words[index + 1] in _OBJECTS


def _previous(words: Sequence[str], index: int) -> str:
    """Return the word before `index`, adverbs skipped."""
    while index > 0:
        index -= 1
        if words[index] not in _ADVERBS:
            return words[index]
    return ""


def _read(words: Sequence[str], index: int) -> tuple[str, ...] | None:
    before = _previous(words, index)
    if before in _BASE_FORM_AFTER:
        return _READ_NOW
    if before in _PARTICIPLE_AFTER:
        return _READ_PAST
    if before in _SINGULAR or not _PAST_TIME.isdisjoint(words):
        return _READ_PAST
    return None
