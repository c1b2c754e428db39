from __future__ import annotations

import pytest

from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle
from engine.text.yue.normalize import normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("佢哋有3個蘋果", "佢哋有三個蘋果"),
        ("而家係10點30分", "而家係十點三十分"),
        ("賣5000元", "賣五千元"),
        ("今日係2024年3月5日", "今日係二零二四年三月五日"),
        ("呢個係幾多錢呀？", "呢個係幾多錢呀?"),
        ("打折30%", "打折百分之三十"),
        ("電話係13812345678", "電話係一三八,一二三四,五六七八"),
        ("你𠮶本書㗎", "你𠮶本書㗎"),
        ("用iPhone影相", "用iPhone影相"),
    ],
)
def test_numbers_are_words_and_characters_stay_as_written(text: str, expected: str) -> None:
    """Traditional and Cantonese characters come back; digits one by one have no 幺."""
    assert normalize(MappedText.of(text)).text == expected


def test_doing_it_twice_changes_nothing() -> None:
    """Runs are normalised before they are cut and again in their own frontend."""
    once = normalize(MappedText.of("呢2隻狗重3.5公斤，真係㗎！"))
    assert normalize(once).text == once.text


def test_digit_styles_are_obeyed() -> None:
    """READ says digits one by one."""
    assert normalize(MappedText.of("房1201"), DigitStyle.READ).text == "房一二零一"
    assert normalize(MappedText.of("房1201"), DigitStyle.CARDINAL).text == "房一千二百零一"
