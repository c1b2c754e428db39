"""The pack in the box: it is whole, it speaks, and its streaming is the offline result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import engine
from bench.modes import material_of, mode_table
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.pack import load_pack
from engine.text.frontend import Frontend
from engine.thread_engine import ThreadEngine
from engine.types import Language, SentenceJob, StreamMode, SynthesisParams
from engine.voices import PackVoices
from tests.engine.jobs import speak

NANO = Path(engine.__file__).parent / "bundled" / "nano"
SENTENCES = {
    "lan": "今天天气很好，我们一起去公园散步吧。",
    "anna": "The weather is nice today, let us go.",
}
# Upstream's penalty ends nano's sentences early.
PARAMS = SynthesisParams(seed=5, repetition_penalty=1.0)
MAX_BYTES = 40_000_000


def test_it_is_whole_and_small() -> None:
    """Every file is what its hash says, six voices are there, and all of it fits 40 MB."""
    pack = load_pack(NANO)
    pack.verify()
    voices = PackVoices(pack, None).infos()
    assert len(voices) == 6
    assert sorted({voice.language for voice in voices}) == [Language.EN, Language.ZH]
    assert sum(path.stat().st_size for path in NANO.rglob("*") if path.is_file()) <= MAX_BYTES


async def test_it_speaks_chinese_and_english() -> None:
    """A finite, audible sentence of a plausible length in each language, twice the same."""
    config = EngineConfig(backend="onnxruntime", pack=NANO, num_slots=2)
    engine = ThreadEngine(config)
    await engine.start()
    try:
        frontend = Frontend(engine.info.symbol_set)
        for number, (voice, text) in enumerate(SENTENCES.items()):
            phonemes = frontend.phonemize(text, engine.voices[voice].language)
            heard = [
                await speak(
                    engine,
                    SentenceJob(
                        10 * number + turn, f"u{number}{turn}", 0, phonemes, voice, params=PARAMS
                    ),
                )
                for turn in range(2)
            ]  # fmt: skip
            np.testing.assert_array_equal(heard[0], heard[1])
            seconds = len(heard[0]) / engine.info.sample_rate_hz
            assert 0.4 < seconds < 20
            assert np.isfinite(heard[0]).all() and np.sqrt(np.mean(heard[0] ** 2)) > 0.005
    finally:
        await engine.close()


def test_balanced_streaming_is_the_offline_result() -> None:
    """30 dB above the difference and no seam, on tokens the pack makes of a sentence."""
    pack = load_pack(NANO)
    backend = create_backend("onnxruntime", pack, EngineConfig(pack=NANO, num_slots=1))
    style = PackVoices(pack, None).style("anna", "default")
    material = material_of(backend, pack, style)
    assert len(material.tokens) > 60
    material = replace(material, tokens=material.tokens[:60])  # thirty joins
    rows = {row.mode: row for row in mode_table(backend, style, material)}
    assert rows[StreamMode.EXACT].snr_db > 60
    assert rows[StreamMode.BALANCED].snr_db > 30
    assert rows[StreamMode.BALANCED].seam_score <= 1.05
