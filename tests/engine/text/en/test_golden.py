"""Ordinary sentences must be the phonemes upstream gives; see golden_upstream.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.text.en.frontend import EnglishFrontend

GOLDEN = json.loads((Path(__file__).parent / "golden_upstream.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def english() -> EnglishFrontend:
    return EnglishFrontend("v2")


@pytest.mark.parametrize("case", GOLDEN["sentences"], ids=lambda case: case["text"][:30])
def test_phonemes_equal_upstreams(english: EnglishFrontend, case: dict[str, str]) -> None:
    """Heteronyms included, the sequence is the one upstream's english.py returned."""
    words = english.phonemize(case["text"])
    assert " ".join(phone for word in words for phone in word.phones) == case["phones"]
