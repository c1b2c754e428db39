"""A user's own pronunciations: a TOML or JSON table from words to pinyin or ARPAbet.

    SoVITS = "S OW1 V IH0 T S"
    重庆 = "chong2 qing4"

A word in letters matches in any case, whole words only; Han matches anywhere, longest first. In the
file the table may also stand under `[lexicon]`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engine.errors import InvalidParameter, TextError
from engine.text.mapped import MappedText
from engine.text.markup import Override, Pronunciation, is_han, parse_pronunciation

_MAX_WORD = 64


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words with the pronunciations they shall have.

    Attributes:
        entries: By word; letters in lower case.
        pattern: Finds any of them, None when there are none.
    """

    entries: Mapping[str, Pronunciation]
    pattern: re.Pattern[str] | None

    @classmethod
    def of(cls, words: Mapping[str, str], origin: str = "lexicon") -> Self:
        """Return the lexicon of `words`.

        Args:
            words: Word to pinyin ("zhong4 guo2") or ARPAbet ("HH AH0 L OW1").
            origin: Named in errors.

        Raises:
            TextError: A word or a pronunciation that cannot be used; names the entry.
        """
        entries: dict[str, Pronunciation] = {}
        for word, sounds in words.items():
            where = f"{origin} entry {word!r:.80}"
            if not isinstance(sounds, str):
                raise TextError(
                    f"{where}: {sounds!r:.40} is no text; write pinyin or ARPAbet in quotes",
                    code="bad_message",
                )
            if not 0 < len(word.strip()) <= _MAX_WORD or not any(c.isalnum() for c in word):
                raise TextError(
                    f"{where}: a word has 1 to {_MAX_WORD} characters, one of them a letter",
                    code="bad_message",
                )
            entries[word.strip().lower()] = parse_pronunciation(word.strip(), sounds, where)
        return cls(entries, _pattern(entries) if entries else None)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the lexicon in a .toml or .json file.

        Raises:
            InvalidParameter: The file is missing or no table of words.
            TextError: An entry that cannot be used.
        """
        parsers = {".toml": tomllib.loads, ".json": json.loads}
        if path.suffix not in parsers:
            raise InvalidParameter("lexicon", str(path), "a file that ends in .toml or .json")
        try:
            table = parsers[path.suffix](path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidParameter("lexicon", str(path), f"a readable file ({error})") from error
        except ValueError as error:  # also of TOML, JSON and UTF-8
            raise InvalidParameter(
                "lexicon", str(path), f"valid {path.suffix[1:]} ({error})"
            ) from error
        if isinstance(table, dict) and isinstance(table.get("lexicon"), dict):
            table = table["lexicon"]
        if not isinstance(table, dict):
            raise InvalidParameter("lexicon", str(path), "a table from words to pronunciations")
        return cls.of(table, str(path))

    def find(self, text: MappedText, taken: tuple[Override, ...] = ()) -> tuple[Override, ...]:
        """Return an override for every listed word of `text`, except where one is taken."""
        if self.pattern is None:
            return ()
        found = []
        for match in self.pattern.finditer(text.text):
            start, end = text.span(*match.span())
            if all(end <= other.start or other.end <= start for other in taken):
                word = match.group()
                found.append(Override(start, end, word, self.entries[word.lower()]))
        return tuple(found)


def _pattern(words: Mapping[str, Pronunciation]) -> re.Pattern[str]:
    def alternative(word: str) -> str:
        if is_han(word[0]):
            return re.escape(word)
        return rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])"

    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(alternative, longest_first)), re.IGNORECASE)
