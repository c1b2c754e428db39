"""Speaks texts through the product's engine, as the server does but without a socket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engine.config import EngineConfig
from engine.pack import Pack, load_pack
from engine.text.frontend import Frontend
from engine.text.splitter import SentenceSplitter
from engine.thread_engine import ThreadEngine
from engine.types import FloatArray, Language, SentenceJob, SynthesisParams

# Seconds of speech: a + b * phonemes. Fitted to 227 readings of the corpus by the teacher, which
# are 0.71 to 1.28 of it (en 0.72 + 0.081, zh 1.38 + 0.092), less the silence around those.
_LENGTH = {Language.EN: (0.5, 0.081), Language.ZH: (0.7, 0.0935)}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to speak.

    Attributes:
        precision: Of the T2S stage.
        cut: `whole` gives the text as one sentence; `server` cuts it as a server does that gets
            it all at once (the first clause early).
    """

    pack: Path
    backend: str = "onnxruntime"
    precision: str = "fp32"
    voices_dir: Path | None = None
    cut: str = "whole"
    params: SynthesisParams = SynthesisParams()


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """An utterance: float32 [N] at the pack's rate; `collapses`: the guard stepped in so often."""

    samples: FloatArray
    rate_hz: int
    num_phonemes: int
    collapses: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.rate_hz


class Speaker:
    """An engine that is asked for one utterance at a time."""

    def __init__(self, settings: Settings, engine: ThreadEngine, pack: Pack) -> None:
        self._settings = settings
        self._engine = engine
        self._loop = asyncio.new_event_loop()
        self._frontend = Frontend(pack.symbol_set)
        self._ids = itertools.count()
        self.pack = pack

    @property
    def voices(self) -> dict[str, Language]:
        """The voices there are, and the language of each."""
        return {name: info.language for name, info in self._engine.voices.items()}

    def start(self) -> None:
        """Load and warm up."""
        self._loop.run_until_complete(self._engine.start())

    def close(self) -> None:
        """Stop the engine."""
        self._loop.run_until_complete(self._engine.close())
        self._loop.close()

    def say(
        self, text: str, language: Language, voice: str, params: SynthesisParams | None = None
    ) -> Speech:
        """Speak a text.

        Raises:
            SovitsError: What keeps it from being spoken.
        """
        params = params or self._settings.params
        return self._loop.run_until_complete(self._say(text, language, voice, params))

    async def _say(
        self, text: str, language: Language, voice: str, params: SynthesisParams
    ) -> Speech:
        before = (await self._engine.stats()).jobs_collapsed
        utterance = f"quality-{next(self._ids)}"
        parts: list[FloatArray] = []
        num_phonemes = 0
        for index, (piece, pause_ms) in enumerate(self._pieces(text)):
            phonemes = self._frontend.phonemize(piece, language)
            num_phonemes += len(phonemes)
            job = SentenceJob(
                next(self._ids), utterance, index, phonemes, voice, params=params, pause_ms=pause_ms
            )
            async with self._engine.synthesize(job) as chunks:
                parts += [chunk.samples async for chunk in chunks]
        self._engine.forget(utterance)
        collapses = (await self._engine.stats()).jobs_collapsed - before
        rate_hz = self._engine.info.sample_rate_hz
        samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return Speech(samples, rate_hz, num_phonemes, collapses)

    def _pieces(self, text: str) -> Sequence[tuple[str, int]]:
        if self._settings.cut == "whole":
            return [(text, 0)]
        splitter = SentenceSplitter()
        sentences = [*splitter.feed(text, 0.0), *splitter.finish()]
        return [(s.text, s.pause_ms) for s in sentences if any(c.isalnum() for c in s.text)]


@contextmanager
def open_speaker(settings: Settings) -> Iterator[Speaker]:
    """Start an engine on a pack for the block.

    Raises:
        SovitsError: What keeps it from starting.
    """
    pack = load_pack(settings.pack)
    config = EngineConfig(
        backend=settings.backend,
        precision=settings.precision,
        pack=pack.path,
        voices_dir=settings.voices_dir,
        num_slots=1,
    )
    speaker = Speaker(settings, ThreadEngine(config), pack)
    speaker.start()
    try:
        yield speaker
    finally:
        speaker.close()


def pack_params(pack: Pack, *, seed: int = 0) -> SynthesisParams:
    """Return what a request gets that does not say."""
    return SynthesisParams(seed=seed, **asdict(pack.sampling))


def expected_s(num_phonemes: int, language: Language) -> float:
    """Return the usual length of a text."""
    base, each = _LENGTH.get(language, _LENGTH[Language.EN])
    return base + each * num_phonemes
