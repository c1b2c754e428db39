"""The enrolment networks in torch.

Each is read from the pack when it is first needed: a server that only speaks enrolled voices never
loads HuBERT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from engine.backends.reference import Reference
from engine.backends.torch_acoustic import TorchAcoustic
from engine.backends.torch_weights import load_weights
from engine.model_config import BertConfig, SpeakerConfig, SslConfig
from engine.models.bert import Bert
from engine.models.eres2netv2 import ERes2NetV2
from engine.models.ge2e import Ge2e
from engine.models.hubert import Hubert
from engine.models.whisper import WhisperEncoder
from engine.pack import Pack, Part
from engine.types import FloatArray, IntArray

_T = TypeVar("_T")


class TorchNetworks:
    """See `ReferenceNetworks`."""

    def __init__(self, pack: Pack, acoustic: TorchAcoustic) -> None:
        self._acoustic = acoustic
        self._ssl = _Lazy(lambda: load_ssl(pack))
        self._speaker = _Lazy(lambda: load_speaker(pack))
        self._bert = _Lazy(lambda: load_bert(pack))

    def ssl(self, inputs: FloatArray) -> FloatArray:
        """See `ReferenceNetworks.ssl`."""
        with torch.inference_mode():
            features: FloatArray = self._ssl.get()(torch.tensor(inputs)[None])[0].numpy()
        return features

    def codes(self, features: FloatArray) -> IntArray:
        """See `ReferenceNetworks.codes`."""
        return self._acoustic.semantic_tokens(features)

    def speaker(self, inputs: FloatArray) -> FloatArray:
        """See `ReferenceNetworks.speaker`."""
        network = self._speaker.get()
        with torch.inference_mode():
            if isinstance(network, Ge2e):
                windows: FloatArray = network(torch.tensor(inputs)).numpy()
                return windows
            embedding: FloatArray = network(torch.tensor(inputs)[None])[0].numpy()
        return embedding

    def style(self, spec: FloatArray, embedding: FloatArray | None) -> FloatArray:
        """See `ReferenceNetworks.style`."""
        return self._acoustic.style_vector([spec], [] if embedding is None else [embedding])

    def bert(self, ids: IntArray) -> FloatArray:
        """See `ReferenceNetworks.bert`."""
        with torch.inference_mode():
            rows: FloatArray = self._bert.get()(torch.tensor(ids)[None])[0].numpy()
        return rows


class TorchReference(Reference):
    """The ReferenceEncoder of the torch backend."""

    def __init__(self, pack: Pack, acoustic: TorchAcoustic) -> None:
        """Prepare; nothing is loaded yet.

        Args:
            acoustic: The same pack's, for its quantiser and style encoder.
        """
        super().__init__(pack, TorchNetworks(pack, acoustic))


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


def load_ssl(pack: Pack) -> Hubert | WhisperEncoder:
    """Return the pack's SSL network."""
    config: SslConfig = pack.config.ssl
    weights = pack.tensors(Part.SSL)
    if config.kind == "whisper":
        network = WhisperEncoder(config.settings)
        load_weights(network, weights, Part.SSL)
        return network
    hubert = Hubert(config.settings)
    load_weights(hubert.network, weights, Part.SSL)
    return hubert


def load_speaker(pack: Pack) -> ERes2NetV2 | Ge2e:
    """Return the pack's speaker network; it must have one."""
    config: SpeakerConfig | None = pack.config.speaker
    assert config is not None
    network: ERes2NetV2 | Ge2e
    if config.kind == "ge2e":
        network = Ge2e(config.settings, config.dim)
    else:
        network = ERes2NetV2(config.settings)
    load_weights(network, pack.tensors(Part.SPEAKER), Part.SPEAKER)
    return network


def load_bert(pack: Pack) -> Bert:
    """Return the pack's BERT; it must have one."""
    config: BertConfig | None = pack.config.bert
    assert config is not None
    network = Bert(config)
    load_weights(network.network, pack.tensors(Part.BERT), Part.BERT)
    return network
