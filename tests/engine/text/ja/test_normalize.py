from __future__ import annotations

import pytest

from engine.text.ja.normalize import normalize, one_by_one
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3本と1,234個", "３本と１２３４個"),
        ("2024/3/5の12:30", "２０２４年３月５日の１２時３０分"),
        ("2024-03-05、9:05", "２０２４年３月５日、９時５分"),
        ("05月09日", "５月９日"),
        ("10:00ちょうど", "１０時ちょうど"),
        ("3:2で勝った", "３対２で勝った"),
        ("¥1,000と$5と3万円", "１０００円と５ドルと３万円"),
        ("40%で3.5℃", "４０パーセントで３．５度"),
        ("-3度", "マイナス３度"),
        ("3〜5日", "３から５日"),
        ("1/2の人", "２分の１の人"),
        ("10km走り、80kg", "１０キロメートル走り、８０キログラム"),
        ("03-1234-5678です", "ゼロサン、イチニーサンヨン、ゴーロクナナハチです"),
        ("型番A10245", "型番Aイチゼロニーヨンゴー"),
        ("注文番号は45678", "注文番号はヨンゴーロクナナハチ"),
        ("1.2.3版", "１テン２テン３版"),
        ("え〜、そう？", "えー、そう？"),
        ("3+4は7", "３たす４は７"),
        ("iPhoneを使う", "iPhoneを使う"),
    ],
)
def test_signs_are_words_and_numbers_full_width(text: str, expected: str) -> None:
    """OpenJTalk reads the digits with their counters; the rest is spelled out."""
    once = normalize(MappedText.of(text))
    assert once.text == expected
    assert normalize(once).text == expected


def test_digit_styles_are_obeyed() -> None:
    """READ says every digit, CARDINAL even telephone numbers as amounts, AUTO by form."""
    text = MappedText.of("007と120")
    assert normalize(text, DigitStyle.AUTO).text == "ゼロゼロナナと１２０"
    assert normalize(text, DigitStyle.READ).text == "ゼロゼロナナとイチニーゼロ"
    assert normalize(text, DigitStyle.CARDINAL).text == "７と１２０"


def test_groups_of_a_number_keep_a_pause() -> None:
    """Telephone numbers are said in groups."""
    assert one_by_one("090-12") == "ゼロキューゼロ、イチニー"
