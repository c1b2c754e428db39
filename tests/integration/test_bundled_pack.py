"""The pack in the box: it is whole, it speaks, and its streaming is the offline result."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import engine
from bench.seams import seam_score, snr_db
from engine.backends.base import Backend
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.noise import exponential
from engine.pack import load_pack
from engine.sampling import Sampler
from engine.text.frontend import Frontend
from engine.thread_engine import ThreadEngine
from engine.types import (
    FloatArray,
    IntArray,
    Language,
    Phonemes,
    SentenceJob,
    StreamMode,
    SynthesisParams,
)
from engine.vocoding import VocoderStream, lookahead
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


def _tokens(backend: Backend, phonemes: Phonemes) -> IntArray:
    """Draw the tokens of a sentence, int64 [T]."""
    vocab_size, made = backend.config.t2s.vocab_size, list[int]()
    none = np.zeros(0, np.int64)
    sampler = Sampler(PARAMS, none, vocab_size=vocab_size, max_tokens=200)
    logits = backend.semantic.prefill(0, phonemes.ids, None, none)
    while not sampler.stopped:
        token = sampler.draw(logits, exponential(PARAMS.seed, 0, sampler.step, vocab_size))
        if token is None:
            break
        made.append(token)
        logits = backend.semantic.decode([0], np.array([token]))[0]
    backend.semantic.release(0)
    return np.array(made, np.int64)


def test_balanced_streaming_is_the_offline_result() -> None:
    """30 dB above the difference and no seam, on tokens the pack makes of a sentence."""
    pack = load_pack(NANO)
    backend = create_backend("onnxruntime", pack, EngineConfig(pack=NANO, num_slots=1))
    style = PackVoices(pack, None).style("anna", "default")
    phonemes = Frontend(pack.symbol_set).phonemize(SENTENCES["anna"], style.language)
    tokens = _tokens(backend, phonemes)

    def decode(mode: StreamMode) -> list[FloatArray]:
        stream = VocoderStream(
            backend.acoustic,
            phonemes,
            style.vector,
            sentence_index=0,
            params=SynthesisParams(seed=1, mode=mode),
        )
        ahead = lookahead(mode)
        parts = []
        while stream.num_frozen_tokens < len(tokens):
            num_new = min(12, len(tokens) - stream.num_frozen_tokens)
            known = len(tokens) if ahead is None else stream.num_frozen_tokens + num_new + ahead[1]
            final = known >= len(tokens)
            parts.append(stream.step(tokens[:known], num_new, final=final).samples)
        return parts

    chunks = decode(StreamMode.BALANCED)
    joins = np.cumsum([len(chunk) for chunk in chunks])[:-1].tolist()
    samples = np.concatenate(chunks)
    assert snr_db(np.concatenate(decode(StreamMode.EXACT)), samples) > 30
    assert len(joins) >= 3 and seam_score(samples, joins) <= 1.05
