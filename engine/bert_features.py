"""BERT rows spread over phonemes: one row per Chinese character, zeros for everything else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np

from engine.types import FloatArray, Language, Phonemes


def phoneme_bert(
    phonemes: Phonemes, bert: Callable[[str], FloatArray | None], dim: int
) -> FloatArray | None:
    """Return float32 [dim, P], or None when every row would be zero.

    Each run of consecutive Chinese words is one text for `bert`. Only Mandarin gets features:
    upstream gives zeros to yue, ja, ko and en (TextPreprocessor.py:212 @48b1a01).
    """
    columns: list[FloatArray] = []
    found = False
    for is_chinese, group in groupby(phonemes.words, lambda w: w.language is Language.ZH):
        words = list(group)
        counts = [word.num_phonemes for word in words]
        rows = bert("".join(word.text for word in words)) if is_chinese else None
        if rows is None:
            columns.append(np.zeros((sum(counts), dim), np.float32))
            continue
        assert len(rows) == len(words), "a Chinese word is one character"
        found = True
        columns.append(np.repeat(rows, counts, axis=0))
    if not found:
        return None
    return np.ascontiguousarray(np.concatenate(columns).T)
