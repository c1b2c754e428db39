"""Figures of utterances become rates, shares and ranks; a folder goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.quality.items import Folder, Item, Kind
from bench.quality.page import page
from bench.quality.summary import error_rate, summary
from engine.errors import InvalidParameter
from engine.types import Language

SETTINGS = {"pack": "p", "speaker_kind": "ge2e"}
PRINTS = {"a": 110.0, "b": 220.0}


def _item(kind: Kind, number: int, voice: str = "v", **more: object) -> Item:
    name = f"{kind}/{number}-{voice}"
    values: dict[str, Any] = {
        "list": "en", "file": f"{name}.wav", "forms": ("hi",), "seconds": 2.0, "expected_s": 2.0
    }  # fmt: skip
    line = f"en-{number}"
    return Item(id=name, kind=kind, line=line, language=Language.EN, voice=voice, **values | more)


def _figures(edits: int, units: int, voice: str = "", turn: float = 0.0) -> dict[str, object]:
    figures: dict[str, object] = {"heard": "hi", "edits": edits, "units": units, "mos": 3.0}
    if voice:
        angle = {"a": 0.0, "b": np.pi / 2}[voice] + turn
        print_ = {"pitch_hz": PRINTS[voice], "formants_hz": [500, 1500, 2500, 3500]}
        figures |= {"embedding": [float(np.cos(angle)), float(np.sin(angle))], "print": print_}
    return figures


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder that was begun."""
    made = Folder(tmp_path / "q")
    made.open(SETTINGS)
    return made


def test_long_sentences_count_for_more() -> None:
    """Edits over units, not the mean of rates."""
    assert error_rate([_figures(1, 10), _figures(0, 2), _figures(3, 4)]) == 0.25
    assert error_rate([]) is None


def test_readings_stand_beside_the_teachers(folder: Folder) -> None:
    """Only lines that were spoken are compared."""
    for number in range(3):
        folder.add(_item(Kind.SENTENCE, number))
        folder.add_judgement(f"sentence/{number}-v", _figures(1, 4))
    for number in (0, 7):
        folder.add(_item(Kind.TEACHER, number, "teacher"))
        folder.add_judgement(f"teacher/{number}-teacher", _figures(number, 10))
    (row,) = summary(folder)["readings"]
    assert (row["n"], row["error_rate"], row["teacher_error_rate"]) == (3, 0.25, 0.0)


def test_short_long_and_collapsed_utterances_are_counted_once(folder: Folder) -> None:
    """Four of five are bad; one is so twice."""
    cases = [(2.0, 0), (0.9, 0), (4.1, 0), (2.0, 1), (4.1, 2)]
    for number, (seconds, collapses) in enumerate(cases):
        folder.add(_item(Kind.RUN, number, seconds=seconds, figures={"collapses": collapses}))
    found = summary(folder)["length"]
    assert (found["n"], found["bad"], found["bad_share"]) == (5, 4, 0.8)
    assert (found["early_stop"], found["too_long"], found["guard_stepped_in"]) == (1, 2, 2)


def test_clones_are_ranked_among_the_speakers(folder: Folder) -> None:
    """Three of four are nearest to whom they copy, by either measure; the judge's bias is said."""
    for voice in "ab":
        folder.add(_item(Kind.ORIGINAL, 1, voice, list="speaker"))
        folder.add_judgement(f"original/1-{voice}", _figures(0, 1, voice))
    for number, (voice, sounds) in enumerate([("a", "a"), ("a", "a"), ("b", "b"), ("b", "a")]):
        folder.add(_item(Kind.CLONE, number, voice))
        folder.add_judgement(f"clone/{number}-{voice}", _figures(0, 1, sounds, turn=0.1))
    result = summary(folder)
    row = result["speakers"][0]
    assert (row["speakers"], row["verifier_first"], row["print_first"]) == (2, 0.75, 0.75)
    assert row["pitch_semitones"] == pytest.approx(12 / 4)
    assert any("also an input" in note for note in result["notes"])


def test_folder_goes_on_and_refuses_other_settings(folder: Folder) -> None:
    """What was spoken is known again, half a line at the end is passed over."""
    folder.add(_item(Kind.RUN, 1, file=""))
    with (folder.path / "spoken.jsonl").open("a") as file:
        file.write('{"id": "cut off')
    again = Folder(folder.path)
    again.open(SETTINGS)
    assert list(again.items) == ["run/1-v"]
    with pytest.raises(InvalidParameter, match="a new one: this has pack 'p'"):
        again.open({**SETTINGS, "pack": "other"})


def test_page_has_a_player_for_each_judged_utterance(folder: Folder) -> None:
    """Texts are escaped, audio is inside."""
    noise = np.random.default_rng(0).normal(0, 0.1, 24000).astype(np.float32)
    item = _item(Kind.SENTENCE, 1, forms=("a < b",))
    folder.add(item, noise, 24000)
    folder.add_judgement(item.id, _figures(1, 2))
    html = page(folder, summary(folder))
    assert html.count("<audio") == 1 and "a &lt; b" in html
    assert "<svg" in html and "data:audio/ogg;base64," in html
