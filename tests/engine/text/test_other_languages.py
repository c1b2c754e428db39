"""Japanese, Korean and Cantonese through the one frontend: mixed scripts, numbers, padding."""

from __future__ import annotations

import pytest

from engine.errors import TextError
from engine.text.frontend import Frontend
from engine.types import Language, Phonemes

pytest.importorskip("pyopenjtalk")
pytest.importorskip("mecab")
pytest.importorskip("ToJyutping")
FRONTEND = Frontend("v2")


def phonemes(text: str, language: Language = Language.AUTO) -> Phonemes:
    return FRONTEND.phonemize(text, language)


def by_language(text: str, language: Language = Language.AUTO) -> list[tuple[str, str]]:
    return [(word.text, str(word.language)) for word in phonemes(text, language).words]


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("こんにちは。今日もNiCe天気ですね！", "k o [ N n i ch i w a . ky o ] o m o , N AY1 S "
         "t e ] N k i d e s u n e !"),
        ("안녕하세요. 저는 iPhone 15를 샀어요!",
         "ㅇ ㅏ ㄴ ㄴ ㅣ ㅓ ㅇ ㅎ ㅏ ㅅ ㅔ ㅇ ㅣ ㅗ . 空 ㅈ ㅓ ㄴ ㅡ ㄴ 空 "
         "AY1 F OW2 N F IH0 F T IY1 N ㄹ ㅡ ㄹ 空 ㅅ ㅏ ㅆ ㅓ ㅇ ㅣ ㅗ !"),
        ("你喜欢カラオケ吗？", "n i2 x i3 h uan5 k a [ r a o k e m a5 ?"),
        ("这部剧叫사랑。", "zh e4 b u4 j v4 j iao4 ㅅ ㅏ ㄹ ㅏ ㅇ ."),
    ],
)  # fmt: skip
def test_scripts_are_spoken_in_their_languages(text: str, symbols: str) -> None:
    """AUTO finds the language of the ideographs by the letters around them."""
    assert " ".join(phonemes(text).symbols) == symbols


@pytest.mark.parametrize(
    ("language", "expected"),
    [(Language.JA, "n i"), (Language.ZH, "r ir4 b en3"), (Language.YUE, "Yj Yat6 Yb Yun2")],
)
def test_ideographs_are_in_the_language_the_caller_names(language: Language, expected: str) -> None:
    """日本 is Japanese, Mandarin or Cantonese."""
    assert expected in " ".join(phonemes("我們去日本。", language).symbols)


def test_cantonese_takes_english_and_other_scripts_along() -> None:
    """Latin words are English, kana Japanese, the numbers of the sentence Cantonese."""
    assert by_language("佢買咗2部iPhone，はい！", Language.YUE) == [
        ("佢", "yue"), ("買", "yue"), ("咗", "yue"), ("两", "yue"), ("部", "yue"),
        ("iPhone", "en"), (",", "en"), ("はい", "ja"), ("!", "ja"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "main"),
    [
        ("東京の大学に行く", "ja"),
        ("カラオケ大好き", "ja"),
        ("这是まいご的主题曲", "zh"),
        ("한국어 vs 中文, 어느 것이 쉬워요?", "ko"),
        ("我の家", "zh"),
    ],
)
def test_auto_finds_the_main_language(text: str, main: str) -> None:
    """Kana make ideographs Japanese unless characters that only Chinese writes are there."""
    languages = [language for _, language in by_language(text)]
    assert languages[-1] == main


def test_blanks_of_the_normalised_text_follow_each_language() -> None:
    """Korean words and English ones stand apart, others do not."""
    assert phonemes("저는 iPhone 15를 샀어요!").normalized_text == "저는 iPhone fifteen를 샀어요!"
    assert phonemes("りんごが３個ある。").normalized_text == "りんごが三個ある."


@pytest.mark.parametrize(
    ("text", "language", "symbols"),
    [
        ("はい", Language.JA, ". h a ] i ."),
        ("네", Language.KO, ". ㄴ ㅔ ."),
        ("係", Language.YUE, ". Yh Yai6 ."),
        ("「はい」", Language.JA, "UNK h a ] i UNK ."),
        ("3", Language.JA, ". s a [ N ."),
        ("3", Language.KO, ". ㅅ ㅏ ㅁ ."),
        ("3", Language.YUE, ". Ys Yaam1 ."),
    ],
)
def test_short_texts_are_padded(text: str, language: Language, symbols: str) -> None:
    """A lead-in for short clauses, a closing mark, as upstream does in every language."""
    assert " ".join(phonemes(text, language).symbols) == symbols


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("2024/3/5の12:30に、3本の鉛筆を¥1,000で買いました。", Language.JA),
        ("2024-03-05 12:30에 사과 3개를 ₩1,500에 샀다.", Language.KO),
        ("今日係2024年3月5日12:30，佢買咗3枝筆，$1,000。", Language.YUE),
        ("「え〜っ、ＡＩ（人工知能）って何？」😀ｶﾞﾝﾊﾞﾚ", Language.JA),
        ("ㅋㅋㅋ \"진짜\"?? (대박) 大韓民國 はい~", Language.KO),
        ("𠮶個㗎？？？ ABC はい 안녕", Language.YUE),
    ],
)  # fmt: skip
def test_words_point_into_the_source(text: str, language: Language) -> None:
    """Offsets lie in the text as received and never go back; counts add up."""
    result = phonemes(text, language)
    assert sum(word.num_phonemes for word in result.words) == len(result.ids)
    assert all(0 <= word.start <= word.end <= len(text) for word in result.words)
    starts = [word.start for word in result.words]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("text", "language"),
    [("안녕", Language.AUTO), ("안녕", Language.KO), ("你好", Language.YUE), ("안녕", Language.ZH)],
)
def test_v1_packs_refuse_korean_and_cantonese(text: str, language: Language) -> None:
    """Their inventory ends before both; Japanese is in it."""
    with pytest.raises(TextError, match="symbol set v1 cannot speak (ko|yue), only en, ja, zh"):
        Frontend("v1").phonemize(text, language)


def test_warming_up_loads_what_can_be_spoken() -> None:
    """A v1 pack skips Korean instead of failing at the start; AUTO has nothing of its own."""
    frontend = Frontend("v1")
    frontend.warm_up([Language.AUTO, Language.KO, Language.JA])
    assert Language.JA in frontend._languages
    assert Language.KO not in frontend._languages


def test_v1_packs_know_no_pitch_marks() -> None:
    """They speak Japanese with UNK in their place, as upstream does."""
    symbols = Frontend("v1").phonemize("こんにちは。", Language.AUTO).symbols
    assert " ".join(symbols) == "k o UNK N n i ch i w a ."
