"""The enrolment side, the same for every runtime: reference audio to prompt tokens, style, speaker.

A runtime gives the networks; how recordings are prepared for them stands here, once.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from engine.audio.fbank import kaldi_fbank
from engine.audio.mel import HOP, whisper_mel
from engine.audio.speaker_windows import speaker_mean, speaker_windows
from engine.audio.spectrogram import linear_spectrogram
from engine.errors import VoiceError
from engine.pack import Pack
from engine.text.character_vocab import CharacterVocab
from engine.types import FloatArray, IntArray


class ReferenceNetworks(Protocol):
    """The networks behind a Reference; each is loaded when it is first needed.

    Shapes: N samples, F frames at 50 Hz, S features, W windows, G style vector, L characters.
    """

    def ssl(self, inputs: FloatArray) -> FloatArray:
        """Return features [S, F] of a wave [N] (HuBERT) or a mel [80, 2F] (Whisper)."""
        ...

    def codes(self, features: FloatArray) -> IntArray:
        """Return semantic tokens, int64 [T], of features [S, F]."""
        ...

    def speaker(self, inputs: FloatArray) -> FloatArray:
        """Return [S] of a filter bank [T, 80], or [W, S] of mel windows [W, 160, 40]."""
        ...

    def style(self, spec: FloatArray, embedding: FloatArray | None) -> FloatArray:
        """Return the style vector [G] of a linear spectrogram [bins, F]."""
        ...

    def bert(self, ids: IntArray) -> FloatArray:
        """Return rows [L, H] of ids [L], [CLS] and [SEP] included."""
        ...


class Reference:
    """See `ReferenceEncoder`."""

    def __init__(self, pack: Pack, networks: ReferenceNetworks) -> None:
        self._config = pack.config
        self._pack = pack
        self._networks = networks
        self._vocab: CharacterVocab | None = None

    def semantic_tokens(self, samples_16k: FloatArray) -> IntArray:
        """See `ReferenceEncoder.semantic_tokens`.

        Silence is appended first (upstream TTS.py:809 @48b1a01: 0.6 s), so the prompt ends in
        silent tokens and the sentence after it starts cleanly.
        """
        silence = np.zeros(self._config.ssl.tail_zeros, dtype=np.float32)
        features = self.ssl_features(np.concatenate((samples_16k, silence)))
        return self._networks.codes(features)

    def ssl_features(self, samples_16k: FloatArray) -> FloatArray:
        """Return the SSL network's features of a wave as it is, float32 [S, F] at 50 Hz.

        Raises:
            VoiceError: If the wave is longer than the network can take.
        """
        if self._config.ssl.kind == "hubert":
            return self._networks.ssl(samples_16k)
        mel = whisper_mel(samples_16k)
        num_frames = mel.shape[1] // 2
        most = int(self._config.ssl.settings["max_frames"])
        if num_frames > most:
            raise VoiceError(
                f"the reference is {len(samples_16k) / HOP / 100:.1f} s long, this model takes "
                f"{most / 50:.0f} s at most; cut it",
                code="bad_reference",
            )
        return self._networks.ssl(mel[:, : 2 * num_frames])

    def speaker_embedding(self, samples_16k: FloatArray) -> FloatArray | None:
        """See `ReferenceEncoder.speaker_embedding`."""
        config = self._config.speaker
        if config is None:
            return None
        if config.kind == "ge2e":
            windows = speaker_windows(samples_16k, mel_bins=int(config.settings["mel_bins"]))
            return speaker_mean(self._networks.speaker(windows))
        return self._networks.speaker(kaldi_fbank(samples_16k))

    def style_vector(self, samples: FloatArray, embedding: FloatArray | None) -> FloatArray:
        """See `ReferenceEncoder.style_vector`."""
        acoustic = self._config.acoustic
        spec = linear_spectrogram(samples, n_fft=acoustic.n_fft, hop=acoustic.hop)
        return self._networks.style(spec, embedding)

    def bert(self, text: str) -> FloatArray | None:
        """See `ReferenceEncoder.bert`."""
        config = self._config.bert
        if config is None:
            return None
        if not text:
            return np.zeros((0, config.dim), dtype=np.float32)
        if self._vocab is None:
            self._vocab = CharacterVocab(self._pack.vocab())
        window = int(config.settings["max_position_embeddings"]) - 2  # beside [CLS] and [SEP]
        pieces = [text[start : start + window] for start in range(0, len(text), window)]
        rows = [
            self._networks.bert(np.array(self._vocab.encode(piece), np.int64))[1:-1]
            for piece in pieces
        ]
        return np.concatenate(rows)
