"""Recordings to features: what is wrong is reported, what is right is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.errors import CheckpointError
from engine.train.prepare import (
    Preparation,
    PrepareOptions,
    Skipped,
    Source,
    prepare,
    read_list,
)
from engine.train.store import FeatureStore
from engine.types import FloatArray, Language, Phonemes, Word
from tests.engine.train.conftest import CONFIG


class Encoder:
    """Stands for the networks, whose own tests are elsewhere: features are the frame's power."""

    def ssl_features(self, samples_16k: FloatArray) -> FloatArray:
        power = np.square(samples_16k).reshape(-1, 320).mean(axis=1)
        return np.tile(power.astype(np.float32), (16, 1))

    def speaker_embedding(self, samples_16k: FloatArray) -> FloatArray:
        return np.ones(4, np.float32)


class Frontend:
    """One phoneme per letter."""

    def phonemize(self, text: str, language: Language) -> Phonemes:
        ids = np.array([ord(c) % 700 for c in text], np.int64)
        words = (Word(text, language, len(ids), 0, len(text)),) if text else ()
        return Phonemes(ids, tuple(text), words, text)


def _tone(path: Path, seconds: float, level: float = 0.3) -> None:
    time = np.arange(int(seconds * 16000)) / 16000
    soundfile.write(path, level * np.sin(2 * np.pi * 200 * time), 16000)


def _run(folder: Path, lines: list[str], options: PrepareOptions | None = None) -> Preparation:
    listing = folder / "list.txt"
    listing.write_text("\n".join(lines), encoding="utf-8")
    skipped: list[Skipped] = []
    sources = list(read_list(listing, skipped))
    store = FeatureStore(folder / "features")
    return prepare(
        sources,
        store,
        Encoder(),
        Frontend(),
        CONFIG,
        options=options or PrepareOptions(),
        skipped=skipped,
    )


def test_bad_files_and_lines_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    """A damaged, a silent, a missing file and two wrong lines do not stop the good one."""
    _tone(tmp_path / "good.wav", 2.0)
    (tmp_path / "damaged.wav").write_bytes(b"RIFF0000WAVEnonsense")
    _tone(tmp_path / "silent.wav", 2.0, level=0.0)
    report = _run(
        tmp_path,
        [
            "good.wav|me|en|hello",
            "damaged.wav|me|en|hello",
            "silent.wav|me|en|hello",
            "missing.wav|me|en|hello",
            "no text here",
            "good.wav|me|klingon|hello",
        ],
    )
    assert report.num_new == 1
    assert {s.where for s in report.skipped} == {
        "damaged.wav",
        "silent.wav",
        "missing.wav",
        "list.txt:5",
        "list.txt:6",
    }
    assert any("klingon" in s.reason for s in report.skipped)


def test_second_run_prepares_nothing_again(tmp_path: Path) -> None:
    """What is in the store stays as it is."""
    _tone(tmp_path / "good.wav", 2.0)
    _run(tmp_path, ["good.wav|me|en|hello"])
    again = _run(tmp_path, ["good.wav|me|en|hello"])
    assert (again.num_new, again.num_known) == (0, 1)


def test_nothing_usable_is_one_clear_error(tmp_path: Path) -> None:
    """The error counts the files, gives the first reason and says what is wanted."""
    _tone(tmp_path / "short.wav", 0.2)
    with pytest.raises(CheckpointError, match=r"1 skipped; the first: short.wav"):
        _run(tmp_path, ["short.wav|me|en|hello"])


def test_features_fit_each_other(tmp_path: Path) -> None:
    """Wave, SSL features and pitch have the lengths of the same whole tokens."""
    _tone(tmp_path / "good.wav", 2.0)
    _run(tmp_path, ["good.wav|me|en|hello"])
    store = FeatureStore(tmp_path / "features")
    (entry,) = list(store)
    features = store.load(entry.id)
    assert len(features.wave) == 480 * len(features.hz) == 480 * len(features.ssl)
    assert len(features.hz) % 2 == 0
    assert np.median(features.hz) == pytest.approx(200, rel=0.01)


def test_damaged_features_say_what_to_do(tmp_path: Path) -> None:
    """A broken file in the store names itself."""
    _tone(tmp_path / "good.wav", 2.0)
    _run(tmp_path, ["good.wav|me|en|hello"])
    store = FeatureStore(tmp_path / "features")
    (entry,) = list(store)
    (tmp_path / "features" / f"{entry.id}.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="delete it and run"):
        store.load(entry.id)


def test_warped_copy_is_of_another_length_and_the_same_every_time(tmp_path: Path) -> None:
    """Its features are those of the stretched wave; preparing anew makes the same copy."""
    copies = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        _tone(folder / "good.wav", 2.0)
        (folder / "list.txt").write_text("")
        store = FeatureStore(folder / "features")
        source = Source(folder / "good.wav", "me", "en", "hello")
        options = PrepareOptions(warp=True)
        prepare([source], store, Encoder(), Frontend(), CONFIG, options=options)
        features = store.load(source.id)
        assert features.warped is not None and features.stretch is not None
        assert 0.84 <= features.stretch[0] <= 1.19
        assert len(features.warped) == pytest.approx(len(features.ssl) * features.stretch[0], abs=3)
        copies.append(features.warped)
    assert copies[0].shape[1] == copies[1].shape[1] == 16


def test_levelled_recordings_are_equally_loud(tmp_path: Path) -> None:
    """A quiet and a loud recording of the same end as the same wave."""
    _tone(tmp_path / "loud.wav", 2.0, level=0.5)
    _tone(tmp_path / "quiet.wav", 2.0, level=0.05)
    lines = ["loud.wav|me|en|hello", "quiet.wav|me|en|hello"]
    _run(tmp_path, lines, PrepareOptions(level=True))
    store = FeatureStore(tmp_path / "features")
    loud, quiet = (np.abs(store.load(entry.id).wave).max() for entry in store)
    assert quiet == pytest.approx(loud, rel=0.05)
