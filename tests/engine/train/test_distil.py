"""Texts that nobody spoke get the tokens their speech would have."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.errors import CheckpointError
from engine.train import stages
from engine.train.batches import Corpus
from engine.train.distil import (
    DistilSettings,
    DistilStage,
    load_distilled,
    read_states,
    spoken_pairs,
    write_distilled,
)
from engine.train.loop import LoopSettings, Run
from engine.train.store import Entry
from engine.types import IntArray, Language, Phonemes, Word

LOOP = LoopSettings(steps=60, learning_rate=5e-3, final_rate=1e-3, warmup_steps=5)
SMALL = DistilSettings(hidden_dim=32, layers=1, input_dropout=0.0, dropout=0.0, autocast=False)


class Letters:
    """A frontend whose phonemes are the letters a to d."""

    def phonemize(self, text: str, language: Language) -> Phonemes:
        """Return ids from 10 on, as the conftest's corpus has them."""
        ids = np.array(["abcd".index(letter) + 10 for letter in text], np.int64)
        word = Word(text, language, len(ids), 0, len(text))
        return Phonemes(ids, tuple(text), (word,), text)


@pytest.fixture
def folder(tmp_path: Path, corpus: Corpus) -> Path:
    """States of all eight utterances, u6 and u7 under names that nobody recorded."""
    made = tmp_path / "states"
    made.mkdir()
    rng = np.random.default_rng(3)
    marks = rng.normal(size=(4, 6))
    lines = []
    for item in corpus.items:
        frames = np.repeat(item.tokens, 2)
        name = item.entry.id if item.entry.id < "u6" else f"new-{item.entry.id}"
        states = marks[frames] + 0.05 * rng.normal(size=(len(frames), 6))
        save_file({"states": states.astype(np.float16)}, made / f"{name}.safetensors")
        letters = "".join(item.entry.symbols)
        line = {"id": name, "speaker": "s", "lang": "en", "text": letters, "phonemes": letters}
        lines.append(json.dumps(line | {"durations": [0, *[3] * 8, 0]}))
    (made / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return made


def _recorded(corpus: Corpus) -> Corpus:
    """The corpus as `train prepare` names it."""
    return Corpus(
        [
            replace(item, entry=Entry(**asdict(item.entry) | {"id": f"{item.entry.id}-0123abcd"}))
            for item in corpus.items
        ]
    )


def _said(corpus: Corpus, name: str) -> IntArray:
    return next(item.tokens for item in corpus.items if item.entry.id == name)


def test_unspoken_texts_get_their_tokens(folder: Path, corpus: Corpus, tmp_path: Path) -> None:
    """The tokens of u6 and u7, which were not learnt from, are found in their states."""
    spoken, unspoken = spoken_pairs(read_states(folder), _recorded(corpus).items)
    assert [row.entry.id for row in unspoken] == ["new-u6", "new-u7"] and len(spoken) == 6
    stage = DistilStage(spoken, 8, SMALL, LOOP)
    Run(tmp_path / "distil", stage, LOOP).train()
    write_distilled(tmp_path / "distilled", stage.network, unspoken, Letters())
    for item in load_distilled(tmp_path / "distilled").items:
        assert np.array_equal(item.tokens, _said(corpus, item.entry.id.removeprefix("new-")))
        assert np.array_equal(item.features.phoneme_ids, item.tokens[::2] + 10)


def test_t2s_learns_the_distilled_texts(folder: Path, corpus: Corpus, tmp_path: Path) -> None:
    """Where a work folder has such texts, stage 3 reads them, with the places of their tokens."""
    spoken, unspoken = spoken_pairs(read_states(folder), _recorded(corpus).items)
    stage = DistilStage(spoken, 8, SMALL, LOOP)
    write_distilled(tmp_path / "distilled", stage.network, unspoken, Letters())
    data = stages.text_data(tmp_path, None)
    assert sorted(data.places) == ["new-u6", "new-u7"] and len(data.train) == 2
    place = data.places["new-u6"]
    assert len(place) == 16 and place[-1] == 7 and (np.diff(place) >= 0).all()


def test_a_teacher_of_other_recordings_is_refused(folder: Path, corpus: Corpus) -> None:
    """Nothing can be learnt where no utterance was recorded."""
    with pytest.raises(CheckpointError, match="among the recordings"):
        spoken_pairs(read_states(folder), corpus.items[6:])


def test_a_damaged_manifest_is_named(folder: Path) -> None:
    """The error says which file."""
    (folder / "manifest.jsonl").write_text('{"id": "u0"}\n', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"manifest\.jsonl"):
        read_states(folder)
