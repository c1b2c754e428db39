"""BERT rows over phonemes."""

from __future__ import annotations

import numpy as np

from engine.bert_features import phoneme_bert
from engine.types import FloatArray, Language, Phonemes, Word


def phonemes(*words: tuple[str, Language, int]) -> Phonemes:
    """Return phonemes made of the given words."""
    count = sum(num for _, _, num in words)
    made = tuple(Word(text, language, num, 0, 0) for text, language, num in words)
    return Phonemes(np.arange(count, dtype=np.int64), ("x",) * count, made, "")


def fake_bert(text: str) -> FloatArray:
    """One row per character: (code point, length of the text)."""
    return np.array([[ord(char), len(text)] for char in text], np.float32)


def test_chinese_rows_repeat_and_everything_else_is_zero() -> None:
    """Each run of Chinese is one text; English between two runs gets zeros."""
    mixed = phonemes(
        ("你", Language.ZH, 2),
        ("好", Language.ZH, 2),
        ("ok", Language.EN, 3),
        ("吗", Language.ZH, 2),
    )
    features = phoneme_bert(mixed, fake_bert, 2)
    assert features is not None
    expected = [[ord("你"), 2]] * 2 + [[ord("好"), 2]] * 2 + [[0, 0]] * 3 + [[ord("吗"), 1]] * 2
    np.testing.assert_array_equal(features, np.array(expected, np.float32).T)


def test_other_languages_get_none_at_all() -> None:
    """Upstream gives Cantonese zeros although it is written in the same characters."""
    assert phoneme_bert(phonemes(("你", Language.YUE, 2)), fake_bert, 2) is None
    assert phoneme_bert(phonemes(("a", Language.EN, 1)), fake_bert, 2) is None


def test_a_pack_without_bert_gives_none() -> None:
    """No BERT, no features."""
    assert phoneme_bert(phonemes(("你", Language.ZH, 2)), lambda _: None, 2) is None
