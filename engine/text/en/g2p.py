"""English words to ARPAbet: heteronyms, dictionary, affixes, compounds, network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from engine.text.en.acronyms import is_said
from engine.text.en.dictionary import LETTERS, Dictionary, dictionary
from engine.text.en.heteronyms import heteronyms, in_context, is_imperative
from engine.text.en.morphology import PREFIXES, SUFFIXES, add_suffix, inflect, with_s
from engine.text.en.neural import predict
from engine.text.en.numbers import NUMBER_WORDS
from engine.text.en.tagger import tagger

_CAMEL = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]")
_SPELLED_MAX = 3  # an unknown word this short is read letter by letter, as upstream does
_MIN_PART = 3  # letters of a compound's half
# How common a half must be, by its letters: the shorter, the likelier it fits by chance.
_MIN_FREQUENCY = {3: 38, 4: 30}
_MIN_FREQUENCY_LONG = 26


class EnglishG2P:
    """Pronounces tokenised sentences with the packaged dictionary."""

    def __init__(self) -> None:
        self._words = dictionary()
        self._heteronyms = heteronyms()

    def sentence(self, tokens: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the phones of every token; a punctuation mark is its own phone.

        Args:
            tokens: Words (letters, apostrophes, inner hyphens) and punctuation marks.
        """
        lower = [token.lower() for token in tokens]
        tags: list[str] | None = None
        spoken: list[tuple[str, ...]] = []
        for index, (token, word) in enumerate(zip(tokens, lower, strict=True)):
            if not any(char.isalpha() for char in word):
                spoken.append((token,))
            elif phones := in_context(lower, index):
                spoken.append(phones)
            elif word in self._heteronyms:
                # Tagging is the slowest step; most sentences need none.
                tags = tags if tags is not None else tagger().tag(tokens)
                tag = "VB" if is_imperative(lower, index) else tags[index]
                spoken.append(self._heteronyms[word].phones(tag))
            elif len(token) > 1 and token.isupper() and not is_said(tokens, index, self._words):
                spoken.append(self._parts(word))
            elif token == "A" and _is_article(tokens, index):
                spoken.append(("AH0",))
            else:
                spoken.append(self.word(token))
        return spoken

    def word(self, token: str) -> tuple[str, ...]:
        """Return the phones of one word, whatever its context."""
        if len(token) == 1:
            return self._letter(token)
        word = token.lower()
        if known := self._words.get(word):
            return known
        if "-" in word.strip("-"):
            return self._parts(token.split("-"))
        if word.endswith("'s") and len(word) > 2:
            return with_s(self.word(token[:-2]))
        if word.endswith("s'") or "'" in word:
            return self.word(token.replace("'", ""))
        pieces = _CAMEL.findall(token)
        if len(pieces) > 1 and "".join(pieces) == token:
            return self._camel(token, pieces)
        return self._parts(word) if len(word) <= _SPELLED_MAX else self._unknown(word)

    def _letter(self, letter: str) -> tuple[str, ...]:
        if letter == "a":
            return ("AH0",)
        return LETTERS.get(letter.lower(), ())

    def _parts(self, parts: Sequence[str]) -> tuple[str, ...]:
        return tuple(phone for part in parts if part for phone in self._part(part))

    def _part(self, part: str) -> tuple[str, ...]:
        return LETTERS.get(part.lower(), ()) if len(part) == 1 else self.word(part)

    def _camel(self, token: str, pieces: Sequence[str]) -> tuple[str, ...]:
        """Read `OpenAIKey` piece by piece; a plural `s` after capitals belongs to them."""
        if len(pieces) == 2 and token[:-1].isupper() and pieces[1].endswith("s"):
            return with_s(self._parts(token[:-1].lower()))
        return tuple(
            phone
            for piece in pieces
            for phone in (
                self._parts(piece.lower())
                if piece.isupper() and piece.lower() not in self._words
                else self._part(piece)
            )
        )

    def _unknown(self, word: str) -> tuple[str, ...]:
        if derived := self._derived(word):
            return derived
        compound = split_compound(word, self._words)
        return self._parts(compound) if compound else predict(word)

    def _derived(self, word: str) -> tuple[str, ...] | None:
        """Return the phones of a listed word with endings and prefixes put on it, or None."""
        if phones := self._inflected(word):
            return phones
        for ending, sound in SUFFIXES:
            if word.endswith(ending) and (stem := self._stem(word[: -len(ending)], ending)):
                return add_suffix(stem, sound)
        for beginning, sound in PREFIXES:
            rest = word[len(beginning) :]
            if word.startswith(beginning) and len(rest) > _SPELLED_MAX:
                phones = self._words.get(rest) or self._inflected(rest)
                if phones:
                    return (*sound, *phones)
        return None

    def _inflected(self, word: str) -> tuple[str, ...] | None:
        """Return a listed word's plural, past tense or -ing form, or None."""
        for ending in ("s", "es", "ed", "ing"):
            if word.endswith(ending) and (stem := self._stem(word[: -len(ending)], ending)):
                return inflect(stem, ending)
        return None

    def _stem(self, stem: str, ending: str) -> tuple[str, ...] | None:
        """Look up what is left without an ending, spelling changes undone: planned, happily."""
        forms = [stem]
        if ending[0] in "aei":
            forms.insert(0, f"{stem}e")
            if len(stem) > 2 and stem[-1] == stem[-2]:
                forms.append(stem[:-1])
        if stem.endswith("i"):
            forms.append(f"{stem[:-1]}y")
        for form in forms:
            if len(form) > _SPELLED_MAX and (phones := self._words.get(form)):
                return phones
        return None


def _is_article(tokens: Sequence[str], index: int) -> bool:
    """True for the "A" that opens a sentence before an ordinary word: "A new phone"."""
    opens = index == 0 or tokens[index - 1] in (".", "!", "?")
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    return opens and after.islower() and after.partition("-")[0] not in NUMBER_WORDS  # a code


@lru_cache(maxsize=4096)
def split_compound(word: str, words: Dictionary) -> tuple[str, ...]:
    """Return two common words that make up `word` ("webhook" -> web, hook), or nothing.

    The split whose rarer half is the most common wins, longer halves first among equals.
    """
    best: tuple[int, int, tuple[str, ...]] = (0, 0, ())
    for cut in range(_MIN_PART, len(word) - _MIN_PART + 1):
        halves = (word[:cut], word[cut:])
        if any(half not in words for half in halves):
            continue
        rarity = min(words.frequency(half) for half in halves)
        if all(_is_common(half, words) for half in halves):
            best = max(best, (rarity, min(map(len, halves)), halves))
    return best[2]


def _is_common(half: str, words: Dictionary) -> bool:
    return words.frequency(half) >= _MIN_FREQUENCY.get(len(half), _MIN_FREQUENCY_LONG)
