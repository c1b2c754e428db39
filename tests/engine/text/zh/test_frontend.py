"""The Chinese frontend as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BackendUnavailable
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle
from engine.text.symbols import PUNCTUATION, symbol_table
from engine.text.zh.frontend import ChineseFrontend

_SENTENCES = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))[
    "sentences"
]
# Read better than upstream without g2pW; see DIFFERENCES.md.
_IMPROVED = {
    "长江是中国最长的河流。": "z ui4 ch ang2 d e5",
    "那只小猫咪躲在沙发底下不肯出来。": "n a4 zh ir1 x iao3",
    "数一数，一共有几只小羊？": "sh u3 y i5 sh u3 ,",
    "他跑得比我快得多。": "k uai4 d e5 d uo1",
}


def _phones(frontend: ChineseFrontend, text: str) -> str:
    return " ".join(phone for word in frontend.phonemize(text) for phone in word.phones)


@pytest.mark.parametrize(
    "sentence",
    [s for s in _SENTENCES if s["text"] not in _IMPROVED],
    ids=lambda s: s["text"],
)
def test_raw_sentences_equal_the_public_frontend(sentence: dict[str, str]) -> None:
    """From raw text on, numbers included, an ordinary sentence gives upstream's phonemes."""
    frontend = ChineseFrontend("v2")
    assert frontend.normalize(sentence["text"]).text == sentence["normalized"]
    assert _phones(frontend, sentence["text"]) == sentence["v2"]


@pytest.mark.parametrize(("text", "improved"), list(_IMPROVED.items()))
def test_improved_sentences_are_improved(text: str, improved: str) -> None:
    """The sentences left out above are read right where upstream's fallback is wrong."""
    assert improved in _phones(ChineseFrontend("v2"), text)


def test_v1_keeps_the_readings_it_was_trained_with() -> None:
    """A v1 pack never saw corrected readings, so it gets none."""
    frontend = ChineseFrontend("v1")
    for sentence in _SENTENCES[:20]:
        assert _phones(frontend, sentence["text"]) == sentence.get("v1", sentence["v2"])


def test_words_point_into_the_source() -> None:
    """Every character knows what it was made from, an amount as a whole."""
    words = ChineseFrontend("v2").phonemize("共19.9元，３天")
    assert [(w.text, w.start, w.end) for w in words] == [
        ("共", 0, 1),
        *[(char, 1, 5) for char in "十九点九"],
        ("元", 5, 6),
        (",", 6, 7),
        ("三", 7, 8),
        ("天", 8, 9),
    ]


def test_source_offsets_survive_earlier_cleaning() -> None:
    """Text that was cut out of a longer one keeps the offsets it was given."""
    words = ChineseFrontend("v2").phonemize(MappedText.of("你好。", offset=100))
    assert [(w.start, w.end) for w in words] == [(100, 101), (101, 102), (102, 103)]


def test_override_is_found_by_source_offset() -> None:
    """A reading is given for the character in the client's text, not in the normalized one."""
    text = "共128元，行"
    words = ChineseFrontend("v2").phonemize(text, {text.index("行"): "hang2"})
    assert words[-1].phones == ("h", "ang2")


def test_override_on_a_number_is_ignored() -> None:
    """Three characters made from one place cannot all take one reading."""
    frontend = ChineseFrontend("v2")
    assert frontend.phonemize("共128元", {1: "hang2"}) == frontend.phonemize("共128元")


def test_foreign_words_are_left_to_others() -> None:
    """Latin words stay in the normalized text and get no Chinese phonemes."""
    frontend = ChineseFrontend("v2")
    assert frontend.normalize("用 Opus codec 编码").text == "用Opus codec编码"
    assert [w.text for w in frontend.phonemize("用 Opus codec 编码")] == list("用编码")


def test_normalizing_twice_changes_nothing() -> None:
    """Normalized text is its own normal form."""
    frontend = ChineseFrontend("v2")
    for sentence in _SENTENCES:
        once = frontend.normalize(sentence["text"])
        assert frontend.normalize(once) == once


def test_warm_up_loads_the_dictionaries() -> None:
    """After warm_up jieba is there, and wetext is not: only rare units need it."""
    code = (
        "import sys; from engine.text.zh.frontend import ChineseFrontend;"
        "f = ChineseFrontend('v2'); cold = 'jieba' in sys.modules; f.phonemize('好。');"
        "raise SystemExit(cold or 'jieba' not in sys.modules or 'wetext' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_model_folder_says_what_is_missing(tmp_path: Path) -> None:
    """A g2pW folder without its files is refused with their names."""
    with pytest.raises(BackendUnavailable, match=r"lacks g2pW\.onnx, POLYPHONIC_CHARS\.txt"):
        ChineseFrontend("v2", g2pw_dir=tmp_path)


_CHARACTERS = st.sampled_from(
    "一二不了的地得着儿个行长重还只为好中国人元年月日点分零第"
    "0123456789.,:/-~%$¥+=*×，。！？、；：…—“”（）《》 \n"
    "abcABCvVkmKGé'這個們𠀀😀①Ⅳ²㎡℃°嗯呣\u200d\x00"
)


@given(st.text(_CHARACTERS, max_size=40), st.sampled_from(DigitStyle))
def test_any_text_is_spoken_without_an_error(text: str, digits: DigitStyle) -> None:
    """Whatever comes, the symbols are known ones, the offsets in range and in order."""
    table = symbol_table("v2")
    words = ChineseFrontend("v2").phonemize(text, digits=digits)
    assert all(phone in table for word in words for phone in word.phones)
    assert all(0 <= word.start < word.end <= len(text) for word in words)
    assert all(a.start <= b.start for a, b in zip(words, words[1:], strict=False))
    is_mark = [word.text in PUNCTUATION for word in words]
    assert not any(a and b for a, b in zip(is_mark, is_mark[1:], strict=False))
