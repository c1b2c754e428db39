"""The enrolment side in torch: reference audio to prompt tokens, style and speaker; BERT.

Each network is read from the pack when it is first needed: a server that only speaks enrolled
voices never loads HuBERT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from engine.audio.fbank import kaldi_fbank
from engine.audio.mel import HOP, whisper_mel
from engine.audio.spectrogram import linear_spectrogram
from engine.backends.torch_acoustic import TorchAcoustic
from engine.backends.torch_weights import load_weights
from engine.errors import VoiceError
from engine.model_config import BertConfig, SpeakerConfig, SslConfig
from engine.models.bert import Bert, CharacterVocab
from engine.models.eres2netv2 import ERes2NetV2
from engine.models.ge2e import Ge2e
from engine.models.hubert import Hubert
from engine.models.whisper import WhisperEncoder
from engine.pack import Pack, Part
from engine.types import FloatArray, IntArray

_T = TypeVar("_T")


class TorchReference:
    """See `ReferenceEncoder`."""

    def __init__(self, pack: Pack, acoustic: TorchAcoustic) -> None:
        """Prepare; nothing is loaded yet.

        Args:
            acoustic: The same pack's, for its quantiser and style encoder.
        """
        self._pack = pack
        self._config = pack.config
        self._acoustic = acoustic
        self._ssl = _Lazy(lambda: _load_ssl(pack))
        self._speaker = _Lazy(lambda: _load_speaker(pack))
        self._bert = _Lazy(lambda: _load_bert(pack))

    def semantic_tokens(self, samples_16k: FloatArray) -> IntArray:
        """See `ReferenceEncoder.semantic_tokens`.

        Silence is appended first (upstream TTS.py:809 @48b1a01: 0.6 s), so the prompt ends in
        silent tokens and the sentence after it starts cleanly.
        """
        silence = np.zeros(self._config.ssl.tail_zeros, dtype=np.float32)
        features = self.ssl_features(np.concatenate((samples_16k, silence)))
        return self._acoustic.semantic_tokens(features)

    def ssl_features(self, samples_16k: FloatArray) -> FloatArray:
        """Return the SSL network's features of a wave as it is, float32 [S, F] at 50 Hz.

        Raises:
            VoiceError: If the wave is longer than the network can take.
        """
        network = self._ssl.get()
        with torch.inference_mode():
            if isinstance(network, WhisperEncoder):
                features = network(_whisper_input(network, samples_16k))
            else:
                features = network(torch.tensor(samples_16k)[None])
        result: FloatArray = features[0].numpy()
        return result

    def speaker_embedding(self, samples_16k: FloatArray) -> FloatArray | None:
        """See `ReferenceEncoder.speaker_embedding`."""
        if self._config.speaker is None:
            return None
        network = self._speaker.get()
        if isinstance(network, Ge2e):
            return network.embed(samples_16k)
        with torch.inference_mode():
            embedding: FloatArray = network(torch.tensor(kaldi_fbank(samples_16k))[None])[0].numpy()
        return embedding

    def style_vector(self, samples: FloatArray, embedding: FloatArray | None) -> FloatArray:
        """See `ReferenceEncoder.style_vector`."""
        acoustic = self._config.acoustic
        spec = linear_spectrogram(samples, n_fft=acoustic.n_fft, hop=acoustic.hop)
        return self._acoustic.style_vector([spec], [] if embedding is None else [embedding])

    def bert(self, text: str) -> FloatArray | None:
        """See `ReferenceEncoder.bert`."""
        config = self._config.bert
        if config is None:
            return None
        if not text:
            return np.zeros((0, config.dim), dtype=np.float32)
        network, vocab = self._bert.get()
        window = network.max_tokens - 2  # beside [CLS] and [SEP]; 510 characters
        pieces = [text[start : start + window] for start in range(0, len(text), window)]
        with torch.inference_mode():
            rows = [network(torch.tensor([vocab.encode(piece)]))[0, 1:-1] for piece in pieces]
        result: FloatArray = torch.cat(rows).numpy()
        return result


class _Lazy(Generic[_T]):
    """A value made at its first use, once, whichever thread asks first."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: _T | None = None

    def get(self) -> _T:
        """Return the value."""
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value


def _whisper_input(network: WhisperEncoder, samples: FloatArray) -> Tensor:
    mel = whisper_mel(samples)
    num_frames = mel.shape[1] // 2
    if num_frames > network.max_frames:
        raise VoiceError(
            f"the reference is {len(samples) / HOP / 100:.1f} s long, this model takes "
            f"{network.max_frames / 50:.0f} s at most; cut it",
            code="bad_reference",
        )
    return torch.tensor(mel[None, :, : 2 * num_frames])


def _load_ssl(pack: Pack) -> Hubert | WhisperEncoder:
    config: SslConfig = pack.config.ssl
    weights = pack.tensors(Part.SSL)
    if config.kind == "whisper":
        network = WhisperEncoder(config.settings)
        load_weights(network, weights, Part.SSL)
        return network
    hubert = Hubert(config.settings)
    load_weights(hubert.network, weights, Part.SSL)
    return hubert


def _load_speaker(pack: Pack) -> ERes2NetV2 | Ge2e:
    config: SpeakerConfig | None = pack.config.speaker
    assert config is not None
    network: ERes2NetV2 | Ge2e
    if config.kind == "ge2e":
        network = Ge2e(config.settings, config.dim)
    else:
        network = ERes2NetV2(config.settings)
    load_weights(network, pack.tensors(Part.SPEAKER), Part.SPEAKER)
    return network


def _load_bert(pack: Pack) -> tuple[Bert, CharacterVocab]:
    config: BertConfig | None = pack.config.bert
    assert config is not None
    network = Bert(config)
    load_weights(network.network, pack.tensors(Part.BERT), Part.BERT)
    return network, CharacterVocab(pack.vocab())
