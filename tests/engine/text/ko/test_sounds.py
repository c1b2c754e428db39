from __future__ import annotations

import unicodedata

import pytest

from engine.text.ko.sounds import _words, respelled, sounds


def said(text: str, tags: dict[int, str] | None = None) -> str:
    marks = [(tags or {}).get(index, "") for index in range(len(text))]
    return unicodedata.normalize("NFC", sounds(text, marks))


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("국물", "궁물"), ("독립", "동닙"), ("신라", "실라"), ("칼날", "칼랄"), ("같이", "가치"),
        ("굳이", "구지"), ("닫히다", "다치다"), ("좋다", "조타"), ("많고", "만코"),
        ("싫어", "시러"), ("앉아", "안자"), ("값이", "갑씨"), ("없다", "업따"),
        ("넓다", "널따"), ("밟다", "밥따"),
        ("닭", "닥"), ("꽃", "꼳"), ("희망", "히망"), ("가져", "가저"), ("옷 안", "옫 안"),
        ("늦은", "느즌"), ("끝을", "끄틀"), ("디귿이", "디그시"), ("할수록", "할쑤록"),
        ("잃.", "일."), ("을 나", "을 나"),
    ],
)  # fmt: skip
def test_the_standard_rules_hold(written: str, spoken: str) -> None:
    """Assimilation, linking, aspiration, tensing, palatalization; blanks and marks stay."""
    assert said(written) == spoken


def test_stems_and_endings_tense_what_follows() -> None:
    """신다 (to wear) is 신따, the noun 신 is not; 할 것 is 할 껏."""
    assert said("신고", {0: "VV"}) == "신꼬"
    assert said("신고") == "신고"
    assert said("할 것", {0: "ETM"}) == "할 껃"
    assert said("할 것") == "할 걷"


def test_words_with_their_own_sound_keep_their_length() -> None:
    """Otherwise characters would lose their place in the source."""
    assert respelled("서울역과 금융") == "서울력과 금늉"
    assert all(len(written) == len(spoken) for written, spoken in _words())
