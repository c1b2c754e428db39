"""Text to phonemes: the one door between written text and a pack's symbol inventory.

text ─markup─> ─clean─> ─lexicon─> ─numbers into words─> runs by language ─g2p─> Phonemes
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from engine.errors import TextError
from engine.model_config import SymbolSet
from engine.text.clean import clean, is_speakable
from engine.text.detect import (
    Run,
    apart,
    english_numbers,
    main_language,
    runs,
    scripts,
    without_fashionable_kana,
    without_layout_blanks,
)
from engine.text.languages import (
    FrontendOptions,
    LanguageFrontend,
    create,
    how_to_speak,
    is_installed,
)
from engine.text.lexicon import Lexicon
from engine.text.mapped import MappedText
from engine.text.markup import Override, parse_markup
from engine.text.spoken import DigitStyle, Spoken
from engine.text.symbols import PUNCTUATION, SymbolTable, symbol_table
from engine.types import Language, Phonemes, Word

# What upstream counts as the end of a clause, and the sizes below which it pads a text.
_CLAUSE_ENDS = "，。？！,.?!~:：—…"
_MIN_CLAUSE_CHARS = 4
_MIN_PHONEMES = 6
_MIN_ENGLISH_PHONEMES = 4
_MAX_CHARS = 2000  # far above any sentence the splitter cuts; BERT reads 510
_SAMPLES = {Language.JA: "日本の3月。", Language.KO: "한국의 3월.", Language.YUE: "香港嘅3月。"}
_NEUTRAL_WORD = "word"  # stands where an override gives the phones, so that no rule touches it


class Frontend:
    """Phonemizes sentences for one symbol inventory. Not thread-safe while it is first used.

    Args:
        symbol_set: The pack's inventory.
        lexicon: The user's pronunciations, or the file they are in.
        g2pw_dir: Folder of the g2pW model for Chinese polyphones, if there is one.
        digits: How numbers are read when a call does not say.
        languages: What the model was trained on, empty if that is not known. Its inventory may
            have the symbols of others, which it would babble.

    Raises:
        InvalidParameter: `digits` or the lexicon file is not valid.
        TextError: A lexicon entry is not valid.
        BackendUnavailable: `g2pw_dir` holds no usable model.
    """

    def __init__(
        self,
        symbol_set: SymbolSet,
        *,
        lexicon: Lexicon | Path | None = None,
        g2pw_dir: Path | None = None,
        digits: str = DigitStyle.AUTO,
        languages: Collection[Language] = (),
    ) -> None:
        self._table: SymbolTable = symbol_table(symbol_set)
        self._lexicon = Lexicon.read(lexicon) if isinstance(lexicon, Path) else lexicon
        self._digits = DigitStyle.parse(digits)
        self._options = FrontendOptions(symbol_set, g2pw_dir)
        # Chinese and English always: every model has them, and every text may need them.
        self._spoken = {Language.ZH, Language.EN, *(languages or self._table.languages)}
        self._languages: dict[Language, LanguageFrontend] = {}

    def warm_up(self, languages: Iterable[Language] = ()) -> None:
        """Load dictionaries, so that the first sentence is as fast as the others.

        Args:
            languages: Which to load besides Chinese and English, which are always; those that
                cannot be spoken here are skipped.
        """
        self.phonemize("你好，臺灣。Please record a blorptastic record.", Language.AUTO)
        for language in languages:
            if language in _SAMPLES.keys() & self._spoken and is_installed(language):
                self.phonemize(_SAMPLES[language], language)

    def phonemize(self, text: str, language: Language, *, digits: str | None = None) -> Phonemes:
        """Return the phonemes of one sentence, empty if nothing in it can be spoken.

        Args:
            text: As received: markdown, emoji, numbers and inline pronunciations included.
            language: AUTO finds it; words in another language's script are spoken in that one.
            digits: Overrides the frontend's own.

        Raises:
            TextError: A language or script without a frontend, a bad inline pronunciation, or more
                than 2000 characters.
            InvalidParameter: `digits` is not valid.
        """
        style = self._digits if digits is None else DigitStyle.parse(digits)
        self._table.require(language)
        if len(text) > _MAX_CHARS:
            raise TextError(
                f"a sentence of {len(text)} characters is too long, valid: up to {_MAX_CHARS}; "
                "send sentences one by one",
                code="text_too_long",
            )
        marked, overrides = parse_markup(text)
        cleaned = without_fashionable_kana(clean(marked), language)
        if not is_speakable(cleaned.text):
            return self._assembled([], cleaned.text)
        if self._lexicon is not None:
            overrides += self._lexicon.find(cleaned, overrides)
        main = main_language(cleaned.text, language)
        for needed in (main, *_needed(cleaned.text)):
            self._table.require(needed)
            if needed not in self._spoken:
                able = ", ".join(sorted(self._spoken))
                raise TextError(
                    f"this model speaks {able}, not {needed}; for one that does: "
                    f"{how_to_speak(needed)}"
                )
            self._frontend(needed)
        spoken = [
            (run.language, self._speak(run, overrides, style))
            for run in self._runs(_shielded(cleaned, overrides), main, style)
        ]
        spoken = [(found, words) for found, words in spoken if words]
        return self._assembled(_padded(spoken, cleaned.text), cleaned.text)

    def _frontend(self, language: Language) -> LanguageFrontend:
        if language not in self._languages:
            self._table.require(language)
            self._languages[language] = create(language, self._options)
        return self._languages[language]

    def _runs(self, text: MappedText, main: Language, style: DigitStyle) -> list[Run]:
        """Return `text` in words, cut by language."""
        english = self._frontend(Language.EN)
        if main is Language.EN or scripts(text.text) == {"latin"}:
            if scripts(text.text) <= {"latin"}:
                return [Run(Language.EN, text)]
            return runs(english_around_han(text, english, style), main)
        parts, done = [], 0
        for start, end in english_numbers(text.text):
            parts += [text[done:start], english.normalize(text[start:end], digits=style)]
            done = end
        whole = without_layout_blanks(MappedText.join([*parts, text[done:]]))
        spoken = self._frontend(main)
        pieces = [
            piece if is_foreign else spoken.normalize(piece, digits=style)
            for piece, is_foreign in apart(whole, main)
        ]
        return runs(MappedText.join(pieces), main)

    def _speak(self, run: Run, overrides: Sequence[Override], style: DigitStyle) -> list[Spoken]:
        near = [o for o in overrides if o.start < run.end and run.start < o.end]
        readings: dict[int, str] = {}
        for override in near:
            readings.update(override.pinyin_by_offset(run.text))
        words = self._frontend(run.language).phonemize(run.text, readings, digits=style)
        return _with_given_phones(words, [o for o in near if o.sound.phones])

    def _assembled(
        self, spoken: Iterable[tuple[Language, Sequence[Spoken]]], text: str
    ) -> Phonemes:
        pairs = [(language, word) for language, words in spoken for word in words]
        symbols = tuple(self._table.known(p) for _, word in pairs for p in word.phones)
        words = tuple(
            Word(word.text, language, len(word.phones), word.start, word.end)
            for language, word in pairs
        )
        return Phonemes(self._table.encode(symbols), symbols, words, _written(words))


def english_around_han(
    text: MappedText, english: LanguageFrontend, style: DigitStyle
) -> MappedText:
    """Return an English sentence in words, the ideographs in it untouched."""
    parts: list[MappedText] = []
    for run in runs(text, Language.EN):
        is_english = run.language is Language.EN
        parts.append(english.normalize(run.text, digits=style) if is_english else run.text)
        parts.append(MappedText(" ", (run.end,), (run.end,)))
    return MappedText.join(parts)


def _needed(text: str) -> list[Language]:
    found = scripts(text)
    pairs = (("kana", Language.JA), ("hangul", Language.KO))
    return [language for script, language in pairs if script in found]


def _shielded(text: MappedText, overrides: Sequence[Override]) -> MappedText:
    """Put a neutral word where an override gives the phones of a word in letters or digits."""
    for override in overrides:
        if not override.sound.phones:
            continue
        inside = [
            i
            for i, (start, end) in enumerate(zip(text.starts, text.ends, strict=True))
            if override.start <= start and end <= override.end
        ]
        if not inside:
            continue
        size = len(_NEUTRAL_WORD)
        starts, ends = (override.start,) * size, (override.end,) * size
        stand_in = MappedText(_NEUTRAL_WORD, starts, ends)
        text = MappedText.join([text[: inside[0]], stand_in, text[inside[-1] + 1 :]])
    return text


def _with_given_phones(words: Sequence[Spoken], overrides: Sequence[Override]) -> list[Spoken]:
    result: list[Spoken] = []
    used: set[int] = set()
    for word in words:
        given = [o for o in overrides if o.start <= word.start and word.end <= o.end]
        if not given or word.text in PUNCTUATION:
            result.append(word)
        elif (first := given[0]).start not in used:
            used.add(first.start)
            result.append(Spoken(first.text, first.sound.phones, first.start, first.end))
    return result


def _padded(
    spoken: list[tuple[Language, list[Spoken]]], text: str
) -> list[tuple[Language, list[Spoken]]]:
    """Lengthen what is too short for the networks and close the sentence, as upstream does."""
    if not any(is_speakable(word.text) for _, words in spoken for word in words):
        return []
    first, last = spoken[0][1], spoken[-1][1]
    if last[-1].text not in PUNCTUATION:
        last.append(Spoken(".", (".",), last[-1].end, last[-1].end))
    if text[0] not in _CLAUSE_ENDS and _first_clause_length(text) < _MIN_CLAUSE_CHARS:
        first.insert(0, Spoken(".", (".",), first[0].start, first[0].start))
    padded = [(language, _breath(language, words)) for language, words in spoken]
    total = sum(len(word.phones) for _, words in padded for word in words)
    if total >= _MIN_PHONEMES or first[0].text in PUNCTUATION:
        return padded
    first.insert(0, Spoken(".", (".",), first[0].start, first[0].start))
    return [(language, _breath(language, words)) for language, words in spoken]


def _breath(language: Language, words: list[Spoken]) -> list[Spoken]:
    """Put a comma before English too short to be heard: upstream's guard against swallowing it."""
    if language is not Language.EN:
        return words
    if sum(len(word.phones) for word in words) >= _MIN_ENGLISH_PHONEMES:
        return words
    return [Spoken(",", (",",), words[0].start, words[0].start), *words]


def _first_clause_length(text: str) -> int:
    ends = [at for at in (text.find(mark) for mark in _CLAUSE_ENDS) if at >= 0]
    return len(text[: min(ends)].strip() if ends else text.strip())


def _written(words: Sequence[Word]) -> str:
    """Return the normalised text: blanks between English words and Korean ones, no others."""
    text, end, before = "", 0, Language.ZH
    for word in words:
        is_apart = word.language is Language.EN and text[-1:].isascii()
        if Language.KO in (word.language, before):
            is_apart = is_apart or word.start > end
        joins = not text or word.text in PUNCTUATION or not is_apart
        text += word.text if joins else f" {word.text}"
        end, before = word.end, word.language
    return text
