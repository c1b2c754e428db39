"""What counts as said right, and what as an error."""

from __future__ import annotations

import pytest

from bench.quality.lists import LISTS, main_language, read_lines
from bench.quality.text_scores import (
    distance,
    english_number,
    errors,
    han_number,
    pinyin_errors,
    units,
)
from engine.types import Language


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("We meet at 27 Baker Street.", "we meet at twenty-seven baker street"),
        ("It cost $5.", "it cost 5 dollars"),
        ("About 75% agreed", "about seventy five percent agreed"),
        ("the 3rd and the 12th", "the third and the twelfth"),
        ("My neighbour's grey cat", "my neighbors gray cat"),
        ("一共有1205个。", "一共有一千二百零五个"),
        ("大约75%", "大约百分之七十五"),
        ("这个湖有两百米深", "這個湖有二百米深"),
        ("他出門了", "他出门了！"),
    ],
)
def test_spelling_is_no_error(text: str, heard: str) -> None:
    """Digits, symbols, traditional characters, case and punctuation do not count."""
    assert errors([text], heard).edits == 0


def test_errors_are_counted_by_word_character_or_both() -> None:
    """English words, Chinese characters; a mixed sentence has units of both."""
    assert errors(["one two three four"], "one two tree").edits == 2
    assert errors(["one two three four"], "one two tree").units == 4
    assert errors(["今天天气很好"], "今天天很好").rate == pytest.approx(1 / 6)
    assert units("我在Amazon买书。") == ["我", "在", "amazon", "买", "书"]


def test_best_form_counts() -> None:
    """A date may be read in two ways; hearing either is right."""
    forms = ["born in 1987", "born in nineteen eighty-seven"]
    assert errors(forms, "Born in 1987.").edits == 0
    assert errors(forms, "born in nineteen eighty seven").edits == 0
    assert errors(forms, "born in nineteen seventy").edits > 0


def test_homophones_are_errors_by_character_and_not_by_sound() -> None:
    """A wrong tone is an error by sound too."""
    assert errors(["他在那里"], "她在那里").edits == 1
    assert pinyin_errors(["他在那里"], "她在那里").edits == 0
    assert pinyin_errors(["买书"], "卖书").edits == 1


def test_nothing_heard_is_all_wrong() -> None:
    """Silence loses every unit; babble can cost more than all."""
    assert errors(["one two"], "").rate == 1
    assert errors(["one two"], "a b c d e").rate == 2.5


@pytest.mark.parametrize(
    ("value", "english", "han"),
    [
        (0, "zero", "零"),
        (15, "fifteen", "十五"),
        (110, "one hundred ten", "一百十"),
        (304, "three hundred four", "三百零四"),
        (20_016, "twenty thousand sixteen", "二万零十六"),
        (3_000_050, "three million fifty", "三百万零五十"),
    ],
)
def test_numbers_are_spelled_out(value: int, english: str, han: str) -> None:
    """As they are counted, with the zeros Chinese puts into gaps."""
    assert english_number(value) == english
    assert han_number(value) == han


def test_distance_is_the_least_number_of_edits() -> None:
    """The textbook pair, and the empty sides."""
    assert distance("kitten", "sitting") == 3
    assert distance("", "abc") == distance("abc", "") == 3


def test_lists_are_complete_and_in_their_language() -> None:
    """Sixty sentences a language, each once, and every form of a line differs."""
    for name, language in (("en", Language.EN), ("zh", Language.ZH)):
        lines = read_lines(name)
        assert len({line.text for line in lines}) == 60
        assert {line.language for line in lines} == {language}
    for name in LISTS:
        for line in read_lines(name):
            assert len(set(line.forms)) == len(line.forms), line.id
    assert main_language("The word for coffee in Chinese is 咖啡。") is Language.EN
