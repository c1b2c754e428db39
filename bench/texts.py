"""The fixed corpora, and text cut into the pieces a language model writes."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidParameter
from engine.text.han import COMMON

FOLDER = Path(__file__).parent / "corpus"
# Roughly the pieces of common tokenizers: a han character or two, a word or six letters of it.
_TOKEN = re.compile(rf"[{COMMON}]{{1,2}}|\s?[A-Za-z']{{1,6}}|\s?\d{{1,3}}|\s?[^\sA-Za-z\d]|\s")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts of one kind.

    Attributes:
        name: Such as zh-19: the file, then the group.
        language: As the native protocol names it.
        sha256: Of the texts, to tell whether two runs spoke the same.
    """

    name: str
    language: str
    lines: tuple[str, ...]
    sha256: str


def corpus_names() -> list[str]:
    """Return the name of every corpus."""
    return [
        f"{path.stem}-{group}"
        for path in sorted(FOLDER.glob("*.json"))
        for group in json.loads(path.read_text(encoding="utf-8"))["groups"]
    ]


def load_corpus(name: str) -> Corpus:
    """Return a corpus by name.

    Raises:
        InvalidParameter: If there is none.
    """
    if name not in corpus_names():
        raise InvalidParameter("corpus", name, ", ".join(corpus_names()))
    stem, _, group = name.partition("-")
    data = json.loads((FOLDER / f"{stem}.json").read_text(encoding="utf-8"))
    return corpus_of(name, data["language"], data["groups"][group])


def corpus_of(name: str, language: str, lines: list[str]) -> Corpus:
    """Return texts of one's own as a corpus."""
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Corpus(name, language, tuple(lines), digest)


def tokens_of(text: str) -> tuple[str, ...]:
    """Return the pieces a language model might write a text in; joined they are the text."""
    return tuple(_TOKEN.findall(text))
