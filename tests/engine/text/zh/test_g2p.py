"""Characters to phonemes, against the public frontend's own output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.text.symbols import UNKNOWN, symbol_table
from engine.text.zh.g2p import Pronouncer
from engine.text.zh.polyphones import PhrasePinyin

# Made by running the public code (see "source" in the file) on sentences written for this test.
_GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
_SENTENCES = _GOLDEN["sentences"]


def _spoken(pronouncer: Pronouncer, text: str) -> str:
    return " ".join(phone for phones in pronouncer.phones(text) for phone in phones)


@pytest.mark.parametrize("sentence", _SENTENCES, ids=[s["text"] for s in _SENTENCES])
def test_phonemes_equal_the_public_frontend(sentence: dict[str, str]) -> None:
    """Every phoneme of an ordinary sentence is upstream's, in both inventories."""
    phrases = PhrasePinyin()
    v2 = Pronouncer(symbol_table("v2"), phrases)
    v1 = Pronouncer(symbol_table("v1"), phrases)
    assert _spoken(v2, sentence["normalized"]) == sentence["v2"]
    assert _spoken(v1, sentence["normalized"]) == sentence.get("v1", sentence["v2"])


def test_goldens_cover_what_separates_the_inventories() -> None:
    """v1 and v2 differ in merged 儿, and the golden sentences show it."""
    assert any("v1" in sentence for sentence in _SENTENCES)
    assert len(_SENTENCES) >= 60


def test_each_character_has_its_phonemes() -> None:
    """A syllable takes two symbols, a mark one."""
    phones = Pronouncer(symbol_table("v2")).phones("你好,世界.")
    assert [len(p) for p in phones] == [2, 2, 1, 2, 2, 1]
    assert phones[:3] == [("n", "i2"), ("h", "ao3"), (",",)]


def test_given_reading_is_spoken_as_given() -> None:
    """An override keeps its tone whatever the neighbours."""
    pronouncer = Pronouncer(symbol_table("v2"))
    assert pronouncer.phones("银行", {1: "xing2"})[1] == ("x", "ing2")
    assert pronouncer.phones("你好", {0: "ni3"})[0] == ("n", "i3")
    assert pronouncer.phones("好,行", {2: "hang2"})[2] == ("h", "ang2")


def test_unreadable_character_becomes_unknown() -> None:
    """What nobody can read takes the place of one symbol; upstream fails on it."""
    assert Pronouncer(symbol_table("v2")).phones("好兙好")[1] == (UNKNOWN,)


def test_empty_text_has_no_phonemes() -> None:
    """Nothing in, nothing out."""
    assert Pronouncer(symbol_table("v2")).phones("") == []
