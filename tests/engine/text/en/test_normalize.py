from __future__ import annotations

import pytest

from engine.text.en.normalize import normalize
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle


def words(text: str, style: DigitStyle = DigitStyle.AUTO) -> str:
    return normalize(MappedText.of(text), style).text


NUMBERS = {
    "I have 25 apples": "I have twenty-five apples",
    "1,234 units": "one thousand two hundred thirty-four units",
    "4999 units": "four thousand nine hundred ninety-nine units",
    "3.14 and .5": "three point one four and zero point five",
    "1st, 22nd": "first, twenty-second",
    "10-20 days": "ten to twenty days",
    "1000000 stars": "one million stars",
    "007": "zero zero seven",
    "1234567": "one two three four five six seven",
    "-5 degrees": "negative five degrees",
    "2 + 2 = 4": "two plus two equals four",
    "3 × 4": "three times four",
    "#1 choice, No. 5": "number one choice, number five",
    "3/4 of 1/2": "three fourths of one half",
    "5:3": "five to three",
    "10K fans, 5M views, a 4K screen": ("ten thousand fans, five million views, a four K screen"),
    "1. First": "one, First",
}
AMOUNTS = {
    "$3.50": "three dollars and fifty cents",
    "$1": "one dollar",
    "$0.99": "ninety-nine cents",
    "$0": "zero dollars",
    "£5, 20€": "five pounds, twenty euros",
    "¥100": "one hundred yuan",
    "HK$20": "twenty Hong Kong dollars",
    "$1.5M": "one point five million dollars",
    "$2 billion": "two billion dollars",
    "USD 50, 50 EUR": "fifty US dollars, fifty euros",
    "$1,299.99": "one thousand two hundred ninety-nine dollars and ninety-nine cents",
    "$1.999": "one point nine nine nine dollars",
    "50% off, +3.5%": "fifty percent off, plus three point five percent",
    "5km at 80 km/h": "five kilometers at eighty kilometers per hour",
    "1kg, 2.5 kg": "one kilogram, two point five kilograms",
    "-3°C": "minus three degrees Celsius",
    "8GB, 120fps": "eight gigabytes, one hundred twenty frames per second",
    "5'11": "five foot eleven",
    "24/7": "twenty four seven",
    "10m²": "ten meters squared",
}
DATES = {
    "May 3, 2024": "May third, twenty twenty-four",
    "Jan. 5": "January fifth",
    "3 May 2024": "the third of May, twenty twenty-four",
    "22nd March": "the twenty-second of March",
    "2024-05-03": "May third, twenty twenty-four",
    "5/3/2024": "May third, twenty twenty-four",
    "25/12/2024": "December twenty-fifth, twenty twenty-four",
    "3:30 p.m. today": "three thirty P M today",
    "3:05": "three oh five",
    "9:00": "nine o'clock",
    "15:30": "three thirty P M",
    "0:15": "twelve fifteen",
    "00:15": "twelve fifteen A M",
    "10:30-11:00": "ten thirty to eleven o'clock",
    "12:05:30": "twelve oh five and thirty seconds",
    "5pm": "five P M",
    "the 1990s": "the nineteen nineties",
    "the '90s": "the nineties",
    "in 2019.": "in twenty nineteen.",
}
CODES = {
    "Call +1 (555) 123-4567": "Call plus one, five five five, one two three, four five six seven",
    "13812345678": "one three eight, one two three four, five six seven eight",
    "1-800-555-0199": "one, eight zero zero, five five five, zero one nine nine",
    "Order number 48213": "Order number four eight two one three",
    "your PIN is 4821": "your PIN is four eight two one",
    "code: A1024": "code, A one zero two four",
    "GPT-4, H264, MP3, B2B": "GPT four, H two six four, MP three, B two B",
    "RTX 4090": "RTX forty ninety",
    "v2.0": "version two point zero",
    "1.2.3": "one point two point three",
    "192.168.1.1": "one nine two dot one six eight dot one dot one",
    "see https://www.example.com/path?x=1.": "see example dot com.",
    "mail john.doe@my-shop.co.uk": "mail john dot doe at my dash shop dot co dot uk",
}
WRITING = {
    "Mr. Smith and Dr. Brown": "mister Smith and doctor Brown",
    "Dr Who": "doctor Who",
    "on Main St. in St. Louis": "on Main street in saint Louis",
    "e.g. this, i.e. that": "for example this, that is that",
    "apples, pears, etc.": "apples, pears, et cetera.",
    "the U.S. economy": "the U S economy",
    "in the U.S.": "in the U S.",
    "tea w/ milk w/o sugar": "tea with milk without sugar",
    "AT&T and/or": "AT and T and or",
    "One; two: three": "One, two, three",
    "wait... what?!": "wait. what?",
    "yes - really — yes": "yes, really, yes",
    "don’t “quote” 'this'": "don't quote this",
    "rock 'n' roll": "rock and roll",
    "Café naïve ﬁne": "Cafe naive fine",
    "Brand™ new": "Brand new",
    "well-known": "well-known",
    "hello , world": "hello, world",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [pair for table in (NUMBERS, AMOUNTS, DATES, CODES, WRITING) for pair in table.items()],
)
def test_written_forms_are_spoken(text: str, expected: str) -> None:
    """Each written form becomes the words a speaker of American English says."""
    assert words(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "99/99/2024",
        "1-2-3-4",
        "$,5",
        "3..4",
        "/",
        "@",
        *NUMBERS,
        *AMOUNTS,
        *DATES,
        *CODES,
        *WRITING,
    ],
)
def test_only_words_and_marks_are_left(text: str) -> None:
    """Whatever comes in, g2p gets letters, apostrophes, hyphens, blanks and four marks."""
    assert set(words(text)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'- .,?!")


def test_digit_style_overrules_context() -> None:
    """READ reads every digit, CARDINAL no order number digit by digit."""
    assert words("order 1234", DigitStyle.READ) == "order one two three four"
    assert words("3.14", DigitStyle.READ) == "three point one four"
    text = "order 1234567"
    assert words(text, DigitStyle.CARDINAL).startswith("order one million two hundred")
    assert words(text) == "order one two three four five six seven"


def test_words_know_their_source() -> None:
    """A word made from digits points at these digits, its neighbours at themselves."""
    text = "It costs $3.50 now"
    normal = normalize(MappedText.of(text))
    start = normal.text.index("fifty")
    assert normal.span(start, start + 5) == (9, 14)
    start = normal.text.index("now")
    assert normal.span(start, start + 3) == (15, 18)
