"""Look-ups in a list of words kept as its file, against a dict of the same words."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from engine.text.word_table import WordTable

WORDS = {f"w{number:x}": f"value {number}" for number in range(5000)} | {"重庆": "a", "重": "b"}


def table(separator: bytes = b"\t") -> WordTable:
    lines = sorted(f"{w}\0{v}\n".encode().replace(b"\0", separator) for w, v in WORDS.items())
    return WordTable(b"".join(lines), separator)


@pytest.mark.parametrize("separator", [b"\t", b" "])
def test_finds_what_a_dict_finds(separator: bytes) -> None:
    """Every word has its value, and nothing else has one."""
    words = table(separator)
    assert len(words) == len(WORDS)
    assert sorted(words) == sorted(WORDS)
    assert all(words.get(word) == value for word, value in WORDS.items())
    others = [f"{word}{more}" for word in WORDS for more in ("", "0", "x", "庆")]
    assert all((word in words) == (word in WORDS) for word in others)


def test_finds_prefixes() -> None:
    """A prefix is found also where its first word opens a block."""
    words = table()
    prefixes = {word[:end] for word in WORDS for end in range(1, len(word) + 1)}
    assert all(words.has_prefix(prefix) for prefix in prefixes)
    tried = {f"w{number:x}" for number in random.Random(1).choices(range(16**5), k=2000)}
    assert {p for p in tried if words.has_prefix(p)} == tried & prefixes


@pytest.mark.parametrize("odd", ["", "w1\tvalue", "w1\nw10", "\n", "\ud800", "zz", "!"])
def test_odd_words_are_not_listed(odd: str) -> None:
    """Separators, line ends, half characters and what sorts outside the list are no words."""
    assert odd not in table()


def test_an_empty_table_has_nothing() -> None:
    """A table of no lines answers like any other."""
    words = WordTable(b"")
    assert (len(words), "a" in words, words.has_prefix("a"), list(words)) == (0, False, False, [])


def test_takes_little_more_than_its_text() -> None:
    """The memory beside the text is a small part of it."""
    text = b"".join(sorted(f"{number:08d}\tvalue\n".encode() for number in range(50_000)))
    tracemalloc.start()
    try:
        words = WordTable(text)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(words) == 50_000
    assert kept < 1.25 * len(text)
