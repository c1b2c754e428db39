"""From official files to audio: import, enrol, speak, for every version, with nothing replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.official_files import (
    FULL_PLUS,
    FULL_PRO,
    FULL_SOVITS,
    FULL_V1,
    GptSizes,
    SovitsSizes,
    write_gpt,
    write_hubert,
    write_sovits,
    write_speaker,
)
from engine.audio.io import Recording
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.enroll import Enroller, Prompt
from engine.importer import ImportRequest, import_official
from engine.pack import RANDOM_NOTICE, Pack
from engine.text.frontend import Frontend
from engine.thread_engine import ThreadEngine
from engine.types import AudioChunk, Language, SentenceJob, StreamMode, SynthesisParams, Voice
from engine.voices import VoiceStore
from tests.speechlike import speechlike
from tests.tiny_packs import tiny_pack

_SAMPLES_PER_TOKEN = 1280


def _enrol(pack: Pack, voices_dir: Path, seconds: float) -> None:
    """Prepare the voice `anna`: Chinese by default, with an English style."""
    backend = create_backend("torch", pack, EngineConfig(backend="torch", num_slots=1))
    enroller = Enroller(backend.reference, Frontend(pack.symbol_set), pack.config)
    recording = Recording(speechlike(seconds, 32000), 32000)
    references = {
        "default": ("欢迎来到直播间，大家好。", Language.ZH),
        "english": ("Welcome to the live room.", Language.EN),
    }
    styles = {
        name: enroller.enroll(Prompt(recording, text, language)).style
        for name, (text, language) in references.items()
    }
    VoiceStore(voices_dir).save(Voice("anna", pack.fingerprint, styles), pack.name)


async def _speak(engine: ThreadEngine, job: SentenceJob) -> list[AudioChunk]:
    async with engine.synthesize(job) as chunks:
        return [chunk async for chunk in chunks]


async def _check(pack: Pack, voices_dir: Path, language: Language) -> None:
    """Speak a language from a reference of the other; lengths are exact, chance is seeded."""
    config = EngineConfig(backend="torch", pack=pack.path, voices_dir=voices_dir, num_slots=2)
    engine = ThreadEngine(config)
    await engine.start()
    try:
        assert engine.info.notice == RANDOM_NOTICE and engine.info.family == pack.family
        assert set(engine.voices["anna"].styles) == {"default", "english"}
        heard = [await _speak(engine, job) for job in _jobs(pack, language)]
        waves = [np.concatenate([chunk.samples for chunk in chunks]) for chunks in heard]
        tokens = sum(chunk.num_tokens for chunk in heard[0])
        assert tokens >= 10 and len(waves[0]) == tokens * _SAMPLES_PER_TOKEN + 3200
        assert np.isfinite(waves[0]).all() and np.abs(waves[0]).max() > 1e-4
        # To rounding only: how frames are grouped for the decoder follows the clock.
        np.testing.assert_allclose(waves[0], waves[1], atol=1e-6)
    finally:
        await engine.close()


def _jobs(pack: Pack, language: Language) -> list[SentenceJob]:
    """The same short sentence twice, in the manner of the other language."""
    text, style = {
        Language.ZH: ("买 iPhone 吧！", "english"),
        Language.EN: ("Buy it!", "default"),
    }[language]
    phonemes = Frontend(pack.symbol_set).phonemize(text, language)
    params = SynthesisParams(seed=7, mode=StreamMode.EXACT)
    return [
        SentenceJob(number, f"{language}{number}", 0, phonemes, "anna", style, params, 100)
        for number in (10 + len(text), 100 + len(text))
    ]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("family", "language"),
    [
        ("v1", Language.ZH),
        pytest.param("v2", Language.EN, marks=pytest.mark.slow),
        pytest.param("v2Pro", Language.ZH, marks=pytest.mark.slow),
        ("v2ProPlus", Language.EN),
    ],
)
async def test_tiny_models_of_every_version_speak(
    fixtures_dir: Path, tmp_path: Path, family: str, language: Language
) -> None:
    """Chinese in the manner of an English reference, and the reverse."""
    torch.set_num_threads(1)
    pack = tiny_pack(fixtures_dir, tmp_path, family)
    _enrol(pack, tmp_path / "voices", 3.0)
    await _check(pack, tmp_path / "voices", language)


@pytest.mark.full_size
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sizes", [FULL_V1, FULL_SOVITS, FULL_PRO, FULL_PLUS])
async def test_full_size_models_speak(tmp_path: Path, sizes: SovitsSizes) -> None:
    """The same with full-size files of generated weights (BERT, 1.3 GB, left out)."""
    request = ImportRequest(
        name="full",
        out=tmp_path / "pack",
        gpt=write_gpt(tmp_path / "g", GptSizes(phonemes=512 if sizes.version == "v1" else 732)),
        sovits=write_sovits(tmp_path / "s", sizes),
        hubert=write_hubert(tmp_path / "hubert"),
        notice=RANDOM_NOTICE,
    )
    if sizes.is_pro:
        request = replace(request, speaker=write_speaker(tmp_path / "sv"))
    pack = import_official(request).pack
    _enrol(pack, tmp_path / "voices", 3.0)
    await _check(pack, tmp_path / "voices", Language.EN)
