"""Ordinary sentences must keep the phonemes that were compared with upstream's; see golden.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.text.clean import clean
from engine.text.ja.frontend import JapaneseFrontend
from engine.text.mapped import MappedText

pytest.importorskip("pyopenjtalk")
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", ["equal", "differs"])
def test_sentences_keep_their_phonemes(part: str) -> None:
    """Those that are upstream's, and those of DIFFERENCES.md."""
    frontend = JapaneseFrontend("v2")
    spoken = {
        text: " ".join(
            phone
            for word in frontend.phonemize(clean(MappedText.of(text)))
            for phone in word.phones
        )
        for text in GOLDEN[part]
    }
    assert spoken == GOLDEN[part]
