from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import InvalidParameter, TextError
from engine.text.lexicon import Lexicon
from engine.text.mapped import MappedText


def found(lexicon: Lexicon, text: str) -> list[tuple[str, tuple[str, ...]]]:
    overrides = lexicon.find(MappedText.of(text))
    for override in overrides:
        assert text[override.start : override.end] == override.text
    return [(o.text, o.sound.phones or o.sound.pinyin) for o in overrides]


def test_words_are_found_whole_and_in_any_case() -> None:
    """Letters match between word borders, ideographs anywhere, the longest entry first."""
    lexicon = Lexicon.of(
        {"SoVITS": "S OW1", "AI": "EY1", "Open AI": "OW1", "重": "chong2", "重点": "zhong4 dian3"}
    )
    assert found(lexicon, "sovits的AI, AIR") == [("sovits", ("S", "OW1")), ("AI", ("EY1",))]
    assert found(lexicon, "open ai重点重") == [
        ("open ai", ("OW1",)),
        ("重点", ("zhong4", "dian3")),
        ("重", ("chong2",)),
    ]
    assert found(Lexicon.of({}), "a") == []


def test_inline_markup_goes_before_the_lexicon() -> None:
    """A place that has an override is not matched again."""
    lexicon = Lexicon.of({"重": "chong2"})
    text = MappedText.of("重重")
    taken = lexicon.find(text)[:1]
    assert [o.start for o in lexicon.find(text, taken)] == [1]


@pytest.mark.parametrize("table", ['a = "AH0"\n"重庆" = "chong2 qing4"', '[lexicon]\na = "AH0"'])
def test_files_are_toml_or_json(tmp_path: Path, table: str) -> None:
    """Both formats give the same table, at the top or under [lexicon]."""
    path = tmp_path / "words.toml"
    path.write_text(table, encoding="utf-8")
    assert found(Lexicon.read(path), "A") == [("A", ("AH0",))]
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"a": "AH0"}), encoding="utf-8")
    assert found(Lexicon.read(path), "a") == [("a", ("AH0",))]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("x.toml", 'a = "QQ1"', TextError, "entry 'a': 'QQ1' is no ARPAbet phone"),
        ("x.toml", "a = 1", TextError, "entry 'a': 1 is no text; write pinyin or ARPAbet"),
        ("x.toml", '"!" = "AH0"', TextError, "a word has 1 to 64 characters"),
        ("x.toml", "a =", InvalidParameter, "valid: valid toml ("),
        ("x.json", "[1]", InvalidParameter, "a table from words to pronunciations"),
        ("x.json", "{", InvalidParameter, "valid: valid json ("),
        ("x.yaml", "", InvalidParameter, "a file that ends in .toml or .json"),
        ("missing.toml", None, InvalidParameter, "a readable file ("),
    ],
)
def test_bad_files_are_refused(
    tmp_path: Path, name: str, content: str | None, error: type[Exception], message: str
) -> None:
    """Every mistake names the file or entry and what is valid."""
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(error) as caught:
        Lexicon.read(path)
    assert message in str(caught.value)
