from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidParameter, SovitsError, TextError
from engine.text import languages as module
from engine.text.frontend import Frontend
from engine.text.languages import FrontendOptions, supported_languages
from engine.text.lexicon import Lexicon
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle, Spoken
from engine.types import Language, Phonemes

FRONTEND = Frontend("v2")


def phonemes(text: str, language: Language = Language.AUTO) -> Phonemes:
    return FRONTEND.phonemize(text, language)


def spoken(text: str, language: Language = Language.AUTO) -> str:
    return " ".join(phonemes(text, language).symbols)


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        (
            "今天 iPhone 15 只要 4999.9 元！",
            "j in1 t ian1 AY1 F OW2 N F IH0 F T IY1 N zh ir3 y ao4 s i04 q ian1 j iu3 b ai3 "
            "j iu3 sh ir2 j iu3 d ian3 j iu3 y van2 !",
        ),
        ("Hello，世界！", "HH AH0 L OW1 , sh ir4 j ie4 !"),
        ("我买了3个apple。", "w o2 m ai3 l e5 s an1 g e5 AE1 P AH0 L ."),
        (
            "I like 北京 in 2019 a lot.",
            "AY1 L AY1 K b ei3 j ing1 IH0 N T W EH1 N T IY0 N AY1 N T IY1 N AH0 L AA1 T .",
        ),
    ],
)
def test_languages_mix_in_one_sentence(text: str, symbols: str) -> None:
    """Each script is read in its language, numbers by the rule of detect."""
    assert spoken(text) == symbols


def test_chinese_and_english_speak_each_others_words() -> None:
    """No text is lost because the caller named one language."""
    assert spoken("大家好 world", Language.EN) == spoken("大家好 world", Language.ZH)
    words = phonemes("我们用 Python 写代码。", Language.ZH).words
    assert [w.text for w in words if w.language is Language.EN] == ["Python"]


def test_words_point_at_the_text_as_received() -> None:
    """Offsets count the client's characters, markup and markdown included."""
    text = "**你好**，{重|chong2}庆有 $20 的 iPhone😀。"
    words = phonemes(text).words
    assert "".join(text[w.start : w.end] for w in words if w.text in "你好重庆有") == "你好重庆有"
    assert {text[w.start : w.end] for w in words if w.text in "二十"} <= {"$20", "20"}
    assert [text[w.start : w.end] for w in words if w.text == "iPhone"] == ["iPhone"]
    assert all(a.start <= b.start for a, b in zip(words, words[1:], strict=False))


@pytest.mark.parametrize(
    ("text", "language", "symbols"),
    [
        ("Hi", Language.EN, ". HH AY1 ."),  # a clause below four characters is led in
        ("嗯", Language.ZH, ". EE en1 ."),
        ("OK，没问题。", Language.AUTO, ". OW1 K EY1 , m ei2 w en4 t i2 ."),
        ("Good day", Language.EN, "G UH1 D D EY1 ."),  # the end is marked
        ("你好呀，再见", Language.ZH, ". n i2 h ao3 y a5 , z ai4 j ian4 ."),
        ("我们用AI写作。", Language.ZH, "w o3 m en5 y ong4 , EY1 AY1 x ie3 z uo4 ."),
        ("eyes", Language.EN, ". AY1 Z ."),  # below six phonemes: led in too
    ],
)
def test_short_texts_are_padded_as_upstream_does(
    text: str, language: Language, symbols: str
) -> None:
    """A lead-in for short clauses and texts, a comma before tiny English, a closing mark."""
    assert spoken(text, language) == symbols


@pytest.mark.parametrize("text", ["", " \n", "😀", "...", "**", "{", "<br>", "🇨🇳！"])
def test_nothing_to_say_is_no_error(text: str) -> None:
    """Text without letters, digits or ideographs has no phonemes."""
    assert len(phonemes(text)) == 0
    assert phonemes(text).words == ()


def test_inline_pronunciations_are_spoken_as_given() -> None:
    """Pinyin holds against context and sandhi, ARPAbet against every rule; both may mix."""
    assert "ch ong2 d ian3" in spoken("这是{重|chong2}点。")
    assert spoken("say {GPT-4|G IY1} now") == "S EY1 G IY1 N AW1 ."
    word = next(w for w in phonemes("用{GPT-4|G IY1 P IY1}写").words if w.text == "GPT-4")
    assert (word.num_phonemes, word.language) == (4, Language.EN)
    with pytest.raises(TextError, match="'zhong9' is no pinyin syllable"):
        phonemes("{重|zhong9}")


def test_the_lexicon_is_consulted_everywhere(tmp_path: Path) -> None:
    """Entries hold in both languages; a file works as well as an object."""
    path = tmp_path / "lexicon.toml"
    path.write_text('sovits = "S OW1 V"\n"行长" = "hang2 zhang3"', encoding="utf-8")
    for lexicon in (path, Lexicon.read(path)):
        own = Frontend("v2", lexicon=lexicon)
        assert "S OW1 V" in " ".join(own.phonemize("用SoVITS吧", Language.ZH).symbols)
        assert "h ang2 zh ang3" in " ".join(own.phonemize("他行长了", Language.ZH).symbols)


def test_digits_can_be_read_one_by_one() -> None:
    """The style of a call goes before that of the frontend."""
    read = FRONTEND.phonemize("room 1234", Language.EN, digits="read")
    assert read.normalized_text == "room one two three four."
    own = Frontend("v2", digits="read")
    assert own.phonemize("room 1234", Language.EN).normalized_text == read.normalized_text
    with pytest.raises(InvalidParameter, match="digits is 'no', valid: auto, read, cardinal"):
        Frontend("v2", digits="no")


@pytest.mark.parametrize(
    ("text", "language", "message"),
    [
        ("こんにちは", Language.AUTO, r"Japanese text.*pip install 'sovits-live\[ja\]'"),
        ("你好はい", Language.ZH, r"Japanese text.*pip install 'sovits-live\[ja\]'"),
        ("안녕", Language.AUTO, r"Korean text.*pip install 'sovits-live\[ko\]'"),
        ("你好", Language.YUE, r"Cantonese text.*pip install 'sovits-live\[yue\]'"),
        ("Привет", Language.EN, "cyrillic script"),
    ],
)
def test_languages_without_a_frontend_are_refused(
    text: str, language: Language, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the language and the extra that brings it."""
    monkeypatch.setattr(module, "_MODULES", dict.fromkeys(module._MODULES, ("no_such_module",)))
    with pytest.raises(TextError, match=message) as caught:
        Frontend("v2").phonemize(text, language)
    assert caught.value.code == "unsupported_lang"


def test_too_long_a_sentence_is_refused() -> None:
    """2000 characters are no sentence; the message says what to do."""
    with pytest.raises(TextError, match="2001 characters.*one by one") as caught:
        phonemes("a" * 2001)
    assert caught.value.code == "text_too_long"


def test_v1_models_lack_korean_and_speak_the_rest_alike() -> None:
    """The v1 inventory is a prefix of v2's, so ids agree where both can speak."""
    v1 = Frontend("v1")
    text = "The quick brown fox."
    assert v1.phonemize(text, Language.EN).ids.tolist() == phonemes(text).ids.tolist()
    assert v1.phonemize("大家好，欢迎。", Language.ZH).ids.max() < 322
    with pytest.raises(TextError, match="symbol set v1 cannot speak ko"):
        v1.phonemize("안녕", Language.KO)


@pytest.mark.parametrize("language", [Language.KO, Language.YUE])
def test_v1_models_lack_korean_and_cantonese(language: Language) -> None:
    """Their inventory has no symbols for them, whatever is installed."""
    with pytest.raises(TextError, match=f"symbol set v1 cannot speak {language}, only en, ja, zh"):
        Frontend("v1").phonemize("你好", language)


def test_a_frontend_of_another_language_gets_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ideographs next to kana are among them; no package is needed to see it."""

    class Japanese:
        def __init__(self, options: FrontendOptions) -> None:
            assert options.symbol_set == "v2"

        def normalize(self, text: MappedText, *, digits: DigitStyle) -> MappedText:
            return text

        def phonemize(
            self, text: MappedText, overrides: object, *, digits: DigitStyle
        ) -> list[Spoken]:
            return [
                Spoken(char, ("a", "k"), *text.span(i, i + 1))
                for i, char in enumerate(text.text)
                if char.isalpha()
            ]

    monkeypatch.setattr(module, "_FACTORIES", {**module._FACTORIES, Language.JA: Japanese})
    monkeypatch.setattr(module, "_MODULES", {})
    assert Language.JA in supported_languages()
    result = Frontend("v2").phonemize("日本のAI", Language.AUTO)
    assert [(w.text, w.language.value) for w in result.words] == [
        ("日", "ja"), ("本", "ja"), ("の", "ja"), (",", "en"), ("AI", "en"), (".", "en"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["日本のお茶", "안녕 hello"])
def test_languages_the_model_was_not_trained_on_are_refused(text: str) -> None:
    """Its inventory has their symbols, and it would babble; its own ones pass."""
    frontend = Frontend("v2", languages=(Language.ZH, Language.EN))
    with pytest.raises(TextError, match="this model speaks en, zh, not (ja|ko); .*model pull"):
        frontend.phonemize(text, Language.AUTO)
    assert frontend.phonemize("你好 hello", Language.AUTO).ids.size


@settings(max_examples=80)
@given(
    st.lists(
        st.sampled_from(
            [
                *"aZ1. ,!?，。你好重A$%&*{|}[]()<>-'\n",
                "15",
                "iPhone ",
                "{重|chong2}",
                "元",
                "http://a.b",
            ]
        ),
        max_size=25,
    ).map("".join),
    st.sampled_from([Language.AUTO, Language.ZH, Language.EN]),
)
def test_any_text_gives_phonemes_or_a_typed_error(text: str, language: Language) -> None:
    """Ids are valid, counts add up and offsets lie in the text, whatever comes."""
    try:
        result = FRONTEND.phonemize(text, language)
    except SovitsError:
        return
    assert sum(word.num_phonemes for word in result.words) == len(result.ids)
    assert all(0 <= id < 732 for id in result.ids)
    assert all(0 <= word.start <= word.end <= len(text) for word in result.words)
