"""Which language each stretch of a sentence is in.

Letters decide: ideographs are Chinese, Japanese or Cantonese as the caller or the rest of the
sentence says, Latin letters English, kana and hangul Japanese and Korean. Digits and signs go with
the main language; see `english_numbers` for the one case where they do not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import TextError
from engine.text.han import HAN
from engine.text.mapped import MappedText
from engine.types import Language

_KANA = "\u3041-\u3096\u3099-\u309c\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"
_HIRAGANA = re.compile("[\u3041-\u3096]")
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
_LATIN = "A-Za-zÀ-ÖØ-öø-ɏ"
_SCRIPTS = (
    (re.compile(f"[{HAN}]"), "han"),
    (re.compile(f"[{_KANA}]"), "kana"),
    (re.compile(f"[{_HANGUL}]"), "hangul"),
    (re.compile(f"[{_LATIN}]"), "latin"),
)
# Full-width digits are numbers that a language's own g2p reads: they go with the ideographs.
_STRETCH = re.compile(
    rf"(?P<han>[{HAN}０-９])|(?P<kana>[{_KANA}])|(?P<hangul>[{_HANGUL}])|(?P<latin>[{_LATIN}])"
)
# の alone between ideographs is a Chinese fashion, not Japanese.
_FASHION_NO = re.compile(rf"(?<=[{HAN}])の(?=[{HAN}])")

# Characters Japanese does not write, a sign that the ideographs around some kana are Chinese.
_CHINESE_ONLY = re.compile(
    "[们這这嗎吗麼么你您妳她啊呀呢吧说话时间过还对让给谁为东车见观觉认识请问题电脑钱飞门开关发"
    "现应听买卖读语汉]"
)

_FOREIGN_LETTERS = {
    language: re.compile(rf"[{letters}]+(?: +[{letters}]+)*")
    for language, letters in {
        Language.ZH: _KANA + _HANGUL,
        Language.YUE: _KANA + _HANGUL,
        Language.JA: _HANGUL,
        Language.KO: _KANA,
    }.items()
}
_LAYOUT_BLANK = re.compile(rf"(?<=[{HAN}]) +(?=[\d$£€¥￥+-])|(?<=[\d%‰°℃.]) +(?=[{HAN}])")

# "iPhone 15", "Windows 11", "Office 2021": the number belongs to the English name, unless a
# Chinese measure word counts it. Longer numbers are codes, which Chinese rules read.
_NAME_NUMBER = re.compile(
    rf"(?<![{_LATIN}0-9])[{_LATIN}]{{2,}}(?:['’-][{_LATIN}]+)* (?:\d{{1,4}}|\d+\.\d+)"
    r"(?![\d.,:%/\-~°℃A-Za-z]|\s?[元块毛万亿年月号点分秒个台部次款周天岁人米克斤折倍角折件套条位]"
    r"|\s?[円本枚匹冊台回階歳番線日時つ個개명시월년원번째층살])"
)
# Three words or more are an English clause: its numbers are English, but for a last one that a
# Chinese word counts.
_CLAUSE = re.compile(
    rf"(?<![{_LATIN}0-9])[{_LATIN}]+"
    rf"(?:[ ,;:'’$£€#&()\"-]+[{_LATIN}0-9][{_LATIN}0-9.,:'’%+/-]*){{2,}}"
)
_WORD = re.compile(rf"[{_LATIN}]{{2,}}|\b[aAI]\b")
_TRAILING_NUMBER = re.compile(r"[ $£€#-]*\d[\d.,:%/]*$")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of one language.

    Attributes:
        language: Never AUTO.
        text: Its characters, marks and blanks after them included.
    """

    language: Language
    text: MappedText

    @property
    def start(self) -> int:
        """Where it begins in the source."""
        return self.text.span(0, len(self.text))[0]

    @property
    def end(self) -> int:
        """Where it ends in the source."""
        return self.text.span(0, len(self.text))[1]


def scripts(text: str) -> frozenset[str]:
    """Return which of "han", "kana", "hangul" and "latin" occur in `text`."""
    return frozenset(name for pattern, name in _SCRIPTS if pattern.search(text))


def without_fashionable_kana(text: MappedText, language: Language) -> MappedText:
    """Return `text` with の between ideographs read as 的, if that is all its Japanese."""
    if language is Language.JA:
        return text
    plain = text.sub(_FASHION_NO, "的")
    return text if "kana" in scripts(plain.text) else plain


def without_layout_blanks(text: MappedText) -> MappedText:
    """Return `text` without the blanks typesetters put between ideographs and numbers."""
    return text.sub(_LAYOUT_BLANK, "")


def main_language(text: str, language: Language) -> Language:
    """Return what language the ideographs, digits and signs of `text` are in.

    Args:
        text: A cleaned sentence.
        language: What the caller said; AUTO looks at the letters.

    Raises:
        TextError: `text` is in a script no frontend reads.
    """
    found = scripts(text)
    if not found:
        _refuse_foreign(text)
    if language is not Language.AUTO:
        return language
    counts = {name: len(pattern.findall(text)) for pattern, name in _SCRIPTS}
    if counts["hangul"] > counts["kana"]:
        return Language.KO
    is_chinese = _CHINESE_ONLY.search(text) is not None and (
        counts["han"] > counts["kana"] or not _HIRAGANA.search(text)
    )
    if counts["kana"] and not is_chinese:
        return Language.JA
    return Language.EN if found == {"latin"} else Language.ZH


def apart(text: MappedText, main: Language) -> Iterator[tuple[MappedText, bool]]:
    """Yield `text` in pieces and whether a piece is in the letters of another language.

    Those are kana and hangul outside Japanese and Korean, which no rule of `main` may touch.
    """
    foreign = _FOREIGN_LETTERS[main]
    done = 0
    for match in foreign.finditer(text.text):
        yield text[done : match.start()], False
        yield text[match.start() : match.end()], True
        done = match.end()
    yield text[done:], False


def _refuse_foreign(text: str) -> None:
    foreign = [char for char in text if unicodedata.category(char)[0] == "L"]
    if foreign and not any(char.isdigit() for char in text):
        script = unicodedata.name(foreign[0], "UNKNOWN").split(" ")[0].lower()
        raise TextError(
            f"text is in {script} script ({text[:20]!r}), which no language here reads; "
            "valid: Chinese, English, Japanese, Korean, Cantonese"
        )


def english_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of `text`, a sentence with ideographs, whose numbers are read in English.

    These are clauses of three English words or more, and a number after an English name
    ("iPhone 15"), as upstream reads them; everything else is read in Chinese.
    """
    done = 0
    for clause in _CLAUSE.finditer(text):
        if len(_WORD.findall(clause.group())) < 3:
            continue
        end = clause.end()
        counted = _TRAILING_NUMBER.search(clause.group())
        if counted and re.match(rf"[{HAN}]", text[end : end + 1]):
            end = clause.start() + counted.start()
        for name in _NAME_NUMBER.finditer(text, done, clause.start()):
            yield name.span()
        yield clause.start(), end
        done = end
    for name in _NAME_NUMBER.finditer(text, done):
        yield name.span()


def runs(text: MappedText, main: Language) -> list[Run]:
    """Cut normalised text at every change of script.

    Args:
        text: Letters, ideographs and marks; no digits are left in it.
        main: Language of the ideographs.

    Returns:
        Runs that join to `text`; marks belong to what they follow, leading ones to the first run.
    """
    han = main if main is not Language.EN and main is not Language.KO else Language.ZH
    by_script = {"han": han, "kana": Language.JA, "hangul": Language.KO, "latin": Language.EN}
    cuts: list[tuple[int, Language]] = []
    for match in _STRETCH.finditer(text.text):
        assert match.lastgroup is not None
        language = by_script[match.lastgroup]
        if not cuts or cuts[-1][1] is not language:
            cuts.append((match.start() if cuts else 0, language))
    ends = [*(start for start, _ in cuts[1:]), len(text)][: len(cuts)]
    return [
        Run(language, text[start:end]) for (start, language), end in zip(cuts, ends, strict=True)
    ]
