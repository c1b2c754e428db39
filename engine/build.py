"""From an EngineConfig to a running, warm Worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.backends.base import Backend
from engine.backends.fake import FakeBackend, fake_voices
from engine.chunking import ChunkSchedule
from engine.client import VoiceInfo
from engine.config import EngineConfig
from engine.decoder_pieces import Piece, cut_pieces
from engine.errors import EngineFailed, InvalidParameter
from engine.messages import Event, Failed, Ready, Spoken
from engine.types import (
    FRAMES_PER_TOKEN,
    MAX_LEADING_SILENCE_MS,
    Language,
    Phonemes,
    Sampling,
    SentenceJob,
    StreamMode,
    Style,
    SynthesisParams,
    Word,
)
from engine.vocoding import lookahead
from engine.voice_source import VoiceSource, VoiceTable
from engine.worker import Worker

_WARM_UP_ID = -1
_WARM_UP_PHONEMES = 12
_WARM_UP_TIMEOUT_S = 120.0
_WARM_UP_CHUNKS = 7  # by then a chunk is as long as it gets


def start_worker(config: EngineConfig, emit: Callable[[Event], None]) -> tuple[Worker, Ready]:
    """Load pack and voices, speak one sentence to nobody, and return the running worker.

    Raises:
        SovitsError: What keeps the engine from starting.
    """
    loaded = _load(config)
    meet_lengths(loaded.backend, config.schedule)
    warm_up = _WarmUp(emit)
    worker = Worker(loaded.backend, loaded.voices, config, warm_up)
    worker.start()
    try:
        warm_up.run(worker, loaded.voices)
    except BaseException:
        worker.close()
        raise
    info = worker.info(loaded.pack, loaded.fingerprint, loaded.sampling, loaded.languages)
    return worker, Ready(info, loaded.voices.infos())


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """What a configuration names, opened."""

    backend: Backend
    voices: VoiceSource
    pack: str
    fingerprint: str
    sampling: Sampling
    languages: tuple[Language, ...] = ()


def _load(config: EngineConfig) -> _Loaded:
    if config.backend == "fake":
        voices = VoiceTable(fake_voices(config.fake_voices))
        return _Loaded(FakeBackend(config.fake), voices, "fake", "fake", Sampling())
    if config.pack is None:
        raise InvalidParameter("engine.pack", None, "the folder of a model pack")
    # Imported here: a fake engine must start without any runtime installed.
    from engine.backends.registry import create_backend
    from engine.pack import load_pack
    from engine.voices import PackVoices

    pack = load_pack(config.pack)
    backend = create_backend(config.backend, pack, config)
    pack_voices = PackVoices(pack, config.voices_dir)
    return _Loaded(
        backend, pack_voices, pack.name, pack.fingerprint, pack.sampling, tuple(pack.languages)
    )


def meet_lengths(backend: Backend, chunks: ChunkSchedule) -> None:
    """Call a decoder that is slow at new lengths once with those that sentences will bring."""
    acoustic, config = backend.acoustic, backend.config.acoustic
    if not acoustic.decoder_widths:
        return
    lookahead_tokens = lookahead(StreamMode.BALANCED, config)
    assert lookahead_tokens is not None
    halo, widths = acoustic.decoder_halo, acoustic.decoder_widths
    ahead = min(halo, lookahead_tokens[1] * FRAMES_PER_TOKEN)
    pieces: list[Piece] = []
    for sentence_index in (0, 1):
        past = 0
        for number in range(_WARM_UP_CHUNKS):
            size = chunks.size(number, sentence_index) * FRAMES_PER_TOKEN
            pieces += cut_pieces(past, size, ahead, halo=halo, widths=widths)
            past += size
    for size in (*widths, sum(widths)):  # as sentences end
        pieces += cut_pieces(past, size, 0, halo=halo, widths=widths)
    lengths = dict.fromkeys((p.before, p.end - p.start, p.after) for p in pieces)
    style = np.zeros(config.gin_dim, np.float32)
    for before, width, after in lengths:
        shape = acoustic.latent_dim + acoustic.source_rows, before + width + after
        acoustic.decoder(np.zeros(shape, np.float32), style, before, after)


class _WarmUp:
    """Speaks one short sentence and keeps its events to itself; passes all others on."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._done = threading.Event()
        self._error: Exception | None = None

    def __call__(self, event: Event) -> None:
        """Take an event of the worker."""
        if isinstance(event, Spoken) and event.chunk.job_id == _WARM_UP_ID:
            # One chunk has been through every network; an untrained model might go on for long.
            self._done.set()
        elif isinstance(event, Failed) and event.job_id == _WARM_UP_ID:
            self._error = event.error
            self._done.set()
        else:
            self._emit(event)

    def run(self, worker: Worker, voices: VoiceSource) -> None:
        """Speak; every lane, graph and buffer is used once before anybody waits for it."""
        infos: tuple[VoiceInfo, ...] = voices.infos()
        if not infos:
            return  # without a voice there is nothing to speak with, and nothing to warm
        style = voices.style(infos[0].id, "default")
        worker.submit(
            SentenceJob(
                job_id=_WARM_UP_ID,
                utterance_id="warm-up",
                sentence_index=0,
                phonemes=_some_phonemes(style),
                voice_id=infos[0].id,
                params=SynthesisParams(leading_silence_ms=MAX_LEADING_SILENCE_MS),
            )
        )
        if not self._done.wait(_WARM_UP_TIMEOUT_S):
            raise EngineFailed(f"the warm-up sentence took over {_WARM_UP_TIMEOUT_S:.0f} s")
        worker.cancel(_WARM_UP_ID)
        worker.forget("warm-up")
        worker.reset_stats()
        if self._error is not None:
            raise self._error


def _some_phonemes(style: Style) -> Phonemes:
    """Return a short sentence made of the voice's own prompt phonemes, valid in any pack."""
    ids = np.resize(style.prompt_phoneme_ids, _WARM_UP_PHONEMES).astype(np.int64)
    if not len(style.prompt_phoneme_ids):
        ids = np.arange(1, _WARM_UP_PHONEMES + 1, dtype=np.int64)
    word = Word("", Language.EN, len(ids), 0, 0)
    return Phonemes(ids, tuple(str(i) for i in ids), (word,), "")
