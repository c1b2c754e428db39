"""The acoustic ceiling: a recording's own tokens, spoken in its own voice."""

from __future__ import annotations

import numpy as np

from bench.quality.recordings import Recorded
from bench.quality.speaker import Settings
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.enroll import SSL_RATE_HZ, without_lead_in
from engine.errors import VoiceError
from engine.pack import load_pack
from engine.text.frontend import Frontend
from engine.types import FRAMES_PER_TOKEN, FloatArray, StreamMode, SynthesisParams
from engine.vocoding import VocoderStream


class Resynthesizer:
    """Encodes and speaks with one pack."""

    def __init__(self, settings: Settings) -> None:
        pack = load_pack(settings.pack)
        config = EngineConfig(backend=settings.backend, pack=pack.path, num_slots=1)
        self._backend = create_backend(settings.backend, pack, config)
        self._frontend = Frontend(pack.symbol_set)

    def speak(self, recorded: Recorded) -> tuple[FloatArray, int]:
        """Return float32 [N], aligned with the recording, and its rate.

        Raises:
            VoiceError: It cannot be read or is too short.
            TextError: Its text cannot be spoken.
        """
        acoustic, reference = self._backend.acoustic, self._backend.reference
        audio = recorded.read()
        rate_hz = acoustic.sample_rate_hz
        wave, low = audio.at_rate(rate_hz), audio.at_rate(SSL_RATE_HZ)
        num_tokens = len(wave) // (FRAMES_PER_TOKEN * acoustic.hop)
        # Tokens of silence that enrolment appends are not the recording's.
        tokens = reference.semantic_tokens(low)[:num_tokens]
        if len(tokens) < 1:
            raise VoiceError(f"{audio.name} is too short", code="bad_reference")
        embedding = reference.speaker_embedding(low)
        style = reference.style_vector(wave, embedding)
        spoken = self._frontend.phonemize(recorded.text, recorded.language)
        params = SynthesisParams(mode=StreamMode.EXACT)
        stream = VocoderStream(
            acoustic, without_lead_in(spoken), style, sentence_index=0, params=params
        )
        samples = stream.step(tokens, len(tokens), final=True).samples
        return np.asarray(samples, np.float32), rate_hz
