from __future__ import annotations

import pytest

from engine.text.ko.normalize import normalize
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("사과 3개와 20명", "사과 세개와 스무명"),
        ("2024-03-05 12:30에", "이천이십사년 삼월 오일 열두시 삼십분에"),
        ("6월 6일, 10월", "유월 육일, 시월"),
        ("3시 10분, 14시", "세시 십분, 십사시"),
        ("3개월 2시간", "삼개월 두시간"),
        ("3번 출구에서 2번", "삼번 출구에서 두번"),
        ("1번째와 3번째", "첫번째와 세번째"),
        ("₩1,500과 $5", "천오백원과 오달러"),
        ("40%, 3.5", "사십퍼센트, 삼점오"),
        ("-3℃", "영하 삼도"),
        ("3~5일", "삼에서 오일"),
        ("1/2", "이분의 일"),
        ("10km, 8GB", "십킬로미터, 팔기가바이트"),
        ("010-1234-5678", "공일공 일이삼사 오육칠팔"),
        ("6·25, 3·1절", "유기오, 사밀절"),
        ("3:2로", "삼 대 이로"),
        ("iPhone을", "iPhone을"),
    ],
)
def test_numbers_and_signs_are_words(text: str, expected: str) -> None:
    """No digit is left, foreign words stay."""
    once = normalize(MappedText.of(text))
    assert once.text == expected
    assert normalize(once).text == expected


def test_digit_styles_are_obeyed() -> None:
    """READ says digits, CARDINAL amounts, AUTO by form."""
    text = MappedText.of("007 120")
    assert normalize(text, DigitStyle.AUTO).text == "공공칠 백이십"
    assert normalize(text, DigitStyle.READ).text == "영영칠 일이영"
    assert normalize(text, DigitStyle.CARDINAL).text == "칠 백이십"
