"""A tiny model and a tiny synthetic corpus: tones whose pitch and band say which phoneme it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.model_config import AcousticConfig, HarmonicConfig, T2SConfig
from engine.train.batches import Corpus
from engine.train.store import Entry, Features, FeatureStore

HOP = 480
CONFIG = AcousticConfig(
    sample_rate_hz=24000,
    n_fft=1024,
    hop=HOP,
    ssl_dim=16,
    codebook_size=8,
    codebook_dim=16,
    latent_dim=8,
    hidden_dim=16,
    filter_dim=32,
    ssl_layers=1,
    text_layers=1,
    fusion_layers=1,
    mrte_dim=16,
    gin_dim=16,
    style_bins=64,
    speaker_dim=4,
    flow_couplings=2,
    flow_layers=1,
    posterior_layers=1,
    decoder=HarmonicConfig(frame_channels=16, frame_blocks=1, channels=16, blocks=1),
)
T2S_CONFIG = T2SConfig(
    num_layers=2,
    hidden_dim=32,
    num_heads=4,
    ffn_dim=64,
    num_phonemes=732,
    vocab_size=9,
    bert_dim=1,
    max_tokens=60,
    max_positions=200,
)
_SYMBOLS = "abcd"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Other jobs share this machine."""
    torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Eight utterances of two speakers, each of eight phonemes of 80 ms (two tokens)."""
    made = FeatureStore(tmp_path / "features")
    rng = np.random.default_rng(0)
    marks = rng.normal(size=(len(_SYMBOLS), 16)).astype(np.float32)
    for index in range(8):
        spoken = rng.integers(len(_SYMBOLS), size=8)
        frames = np.repeat(spoken, 4)
        hz = (100.0 + 100 * (index % 2) + 20.0 * frames).astype(np.float32)
        phase = np.cumsum(np.repeat(hz, HOP) / 24000)
        wave = 0.3 * np.sin(2 * np.pi * phase) + 0.1 * np.sin(4 * np.pi * phase)
        features = Features(
            wave=(wave * 32767).astype(np.int16),
            ssl=(marks[frames] + 0.1 * rng.normal(size=(32, 16))).astype(np.float16),
            hz=hz,
            voiced=np.ones(32, bool),
            speaker=np.eye(4, dtype=np.float32)[index % 2],
            phoneme_ids=spoken.astype(np.int64) + 10,
            word_lens=np.ones(8, np.int64),
        )
        entry = Entry(
            id=f"u{index}",
            speaker=f"s{index % 2}",
            language="en",
            text="",
            seconds=0.64,
            symbols=tuple(_SYMBOLS[i] for i in spoken),
            durations_s=(0.08,) * 8,
        )
        made.add(entry, features)
    return made


@pytest.fixture
def corpus(store: FeatureStore) -> Corpus:
    """The store in memory; the phoneme doubles as the token, and its place is known."""
    tokens, places = {}, {}
    for entry in store:
        ids = store.load(entry.id).phoneme_ids
        tokens[entry.id] = np.repeat(ids - 10, 2)
        places[entry.id] = np.repeat(np.arange(8), 2)
    return Corpus.load(store, list(store), tokens, places)
