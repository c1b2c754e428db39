from __future__ import annotations

import pytest

from engine.errors import TextError
from engine.text.detect import (
    english_numbers,
    main_language,
    runs,
    scripts,
    without_fashionable_kana,
    without_layout_blanks,
)
from engine.text.mapped import MappedText
from engine.types import Language


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("你好", Language.AUTO, Language.ZH),
        ("hello 100", Language.AUTO, Language.EN),
        ("100", Language.AUTO, Language.ZH),
        ("100", Language.EN, Language.EN),
        ("hello 你好", Language.AUTO, Language.ZH),
        ("漢字とかな", Language.AUTO, Language.JA),
        ("한국 hello", Language.AUTO, Language.KO),
        ("你好", Language.YUE, Language.YUE),
    ],
)
def test_letters_decide_the_main_language(
    text: str, language: Language, expected: Language
) -> None:
    """AUTO looks at the scripts; what the caller says holds otherwise."""
    assert main_language(text, language) is expected


def test_foreign_scripts_are_refused_by_name() -> None:
    """Text nobody here can read is an error, not silence."""
    with pytest.raises(TextError, match="cyrillic script .'Привет'.*valid: Chinese, English"):
        main_language("Привет", Language.AUTO)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天 iPhone 15 只要 4999.9 元", ["iPhone 15"]),
        ("我用 Windows 11 和 Office 2021", ["Windows 11", "Office 2021"]),
        ("Room 302 在三楼", ["Room 302"]),
        ("GPT-4 的价格", []),
        ("VIP 8折", []),
        ("SKU 8折起", []),
        ("订单 A1024 和 T60", []),
        ("QQ 12345678", []),
        ("我说 I love you 3000 times，好", ["I love you 3000 times"]),
        ("The price is 100元", ["The price is"]),
        ("USB 3.0 接口", ["USB 3.0"]),
        ("纯中文 123 句子", []),
    ],
)
def test_numbers_that_stay_english(text: str, expected: list[str]) -> None:
    """Numbers of English names and clauses are English, all others Chinese."""
    assert [text[start:end] for start, end in english_numbers(text)] == expected


def test_runs_change_with_the_script() -> None:
    """Marks stay with what they follow; the runs join to the text."""
    text = MappedText.of("“Hello, 世界! ok.再见", offset=3)
    found = runs(text, Language.ZH)
    assert [(run.language, run.text.text) for run in found] == [
        (Language.EN, "“Hello, "),
        (Language.ZH, "世界! "),
        (Language.EN, "ok."),
        (Language.ZH, "再见"),
    ]
    assert (found[1].start, found[1].end) == (11, 15)
    assert MappedText.join(run.text for run in found) == text
    assert runs(MappedText.of("..."), Language.ZH) == []
    assert runs(MappedText.of("你好"), Language.YUE)[0].language is Language.YUE


def test_typesetting_habits_are_undone() -> None:
    """A fashionable の is 的; blanks between ideographs and numbers are none."""
    assert without_fashionable_kana(MappedText.of("鲜の每日"), Language.AUTO).text == "鲜的每日"
    assert without_fashionable_kana(MappedText.of("みの"), Language.AUTO).text == "みの"
    assert without_fashionable_kana(MappedText.of("人の手は"), Language.AUTO).text == "人の手は"
    assert without_fashionable_kana(MappedText.of("人の手"), Language.JA).text == "人の手"
    assert without_layout_blanks(MappedText.of("共 12 件, a 1")).text == "共12件, a 1"
    assert scripts("a你あ한1") == {"latin", "han", "kana", "hangul"}
