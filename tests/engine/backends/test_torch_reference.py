"""The enrolment side in torch, from tiny packs made of official files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.backends.torch_acoustic import TorchAcoustic
from engine.backends.torch_reference import TorchReference
from engine.backends.torch_weights import load_weights
from engine.errors import CheckpointError, VoiceError
from engine.model_config import SpeakerConfig, SslConfig
from engine.models.acoustic import AcousticNetwork
from engine.models.ge2e import Ge2e
from engine.models.whisper import WhisperEncoder
from engine.pack import Pack, PackInfo, Part, write_pack
from engine.text.character_vocab import CharacterVocab
from engine.types import FloatArray
from tests.numerics import STAGE, assert_close
from tests.tiny_packs import tiny_pack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("reference")


@pytest.fixture(scope="module")
def pro(fixtures_dir: Path, folder: Path) -> Pack:
    return tiny_pack(fixtures_dir, folder, "v2Pro")


@pytest.fixture(scope="module")
def front(fixtures_dir: Path) -> dict[str, np.ndarray]:
    with np.load(fixtures_dir / "front.npz") as data:
        return dict(data)


def make(pack: Pack) -> TorchReference:
    network = AcousticNetwork(pack.config.acoustic)
    load_weights(network, pack.tensors(Part.ACOUSTIC), Part.ACOUSTIC)
    return TorchReference(pack, TorchAcoustic(network))


@pytest.fixture(scope="module")
def reference(pro: Pack) -> TorchReference:
    return make(pro)


def wave(num_samples: int) -> FloatArray:
    return (0.1 * np.random.default_rng(6).normal(size=num_samples)).astype(np.float32)


@pytest.mark.parity
def test_features_and_embedding_equal_upstream(
    reference: TorchReference, front: dict[str, np.ndarray]
) -> None:
    """HuBERT of the wave and its silence, and the speaker embedding, through the pack."""
    padded = np.pad(front["wav16k"][0], (0, 1600))
    assert_close(reference.ssl_features(padded), front["hubert_last_hidden"][0].T, STAGE, "hubert")
    embedding = reference.speaker_embedding(front["wav16k"][0])
    assert_close(embedding, front["sv_emb"], STAGE, "sv_emb")


@pytest.mark.parity
def test_six_tenths_of_a_second_of_silence_are_appended(
    reference: TorchReference, pro: Pack
) -> None:
    """9600 zeros at 16 kHz reach the SSL network: 15 more tokens, as in upstream's prompts."""
    assert pro.config.ssl.tail_zeros == 9600
    samples = wave(16000)
    features = reference.ssl_features(np.concatenate((samples, np.zeros(9600, np.float32))))
    tokens = reference.semantic_tokens(samples)
    np.testing.assert_array_equal(tokens, reference._networks.codes(features))
    without = reference._networks.codes(reference.ssl_features(samples))
    assert (len(tokens), len(without)) == (39, 24)
    assert tokens.dtype == np.int64


@pytest.mark.parity
def test_a_style_needs_the_speaker_embedding_of_a_pro_model(
    reference: TorchReference, pro: Pack
) -> None:
    """The vector has the model's size and depends on the embedding."""
    samples = wave(pro.config.acoustic.sample_rate_hz)
    one = reference.style_vector(samples, reference.speaker_embedding(wave(16000)))
    other = reference.style_vector(samples, reference.speaker_embedding(wave(20000)))
    assert one.shape == (pro.config.acoustic.gin_dim,)
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parity
def test_one_bert_row_per_character(reference: TorchReference, pro: Pack) -> None:
    """Long texts go through in pieces; unknown characters keep their place."""
    assert pro.config.bert is not None
    vocab = pro.vocab()
    text = "".join(vocab[5:12]) + "龘"
    rows = reference.bert(text)
    assert rows is not None
    assert rows.shape == (len(text), pro.config.bert.dim)
    whole = reference._networks.bert(np.array(CharacterVocab(vocab).encode(text)))
    np.testing.assert_array_equal(rows, whole[1:-1])
    window = pro.config.bert.settings["max_position_embeddings"] - 2
    long = reference.bert((text * 9)[: window + 3])
    again = reference.bert((text * 9)[window : window + 3])
    assert long is not None and again is not None
    assert_close(long[window:], again, STAGE, "second piece")
    assert reference.bert("") is not None


@pytest.mark.parity
def test_nothing_is_loaded_before_it_is_used(pro: Pack, folder: Path) -> None:
    """A server that only speaks never reads the encoders: they may even be gone."""
    pruned = replace(pro, files={n: r for n, r in pro.files.items() if not n.startswith("ssl.")})
    reference = make(pruned)
    assert reference.bert("龘") is not None
    with pytest.raises(CheckpointError, match="has no ssl network"):
        reference.semantic_tokens(wave(16000))


def with_nano_encoders(pack: Pack, folder: Path) -> Pack:
    """Rewrite a pack with a small Whisper and a GE2E in place of HuBERT and ERes2NetV2."""
    torch.manual_seed(0)
    dim, speaker_dim = pack.config.acoustic.ssl_dim, pack.config.acoustic.speaker_dim
    settings = {"mel_bins": 80, "dim": dim, "num_heads": 1, "num_layers": 1, "max_frames": 100}
    whisper = WhisperEncoder(settings)
    ge2e_settings = {"mel_bins": 40, "hidden_dim": 8, "num_layers": 1}
    ge2e = Ge2e(ge2e_settings, speaker_dim)
    config = replace(
        pack.config,
        family="nano",
        ssl=SslConfig("whisper", dim, 0, settings),
        speaker=SpeakerConfig("ge2e", speaker_dim, ge2e_settings),
        bert=None,
    )
    parts = {
        Part.T2S: pack.tensors(Part.T2S),
        Part.ACOUSTIC: pack.tensors(Part.ACOUSTIC),
        Part.SSL: {n: t.numpy() for n, t in whisper.state_dict().items()},
        Part.SPEAKER: {n: t.numpy() for n, t in ge2e.state_dict().items()},
    }
    info = PackInfo("nano-like", pack.languages)
    return write_pack(folder / "nano-like", info, config, parts)


@pytest.mark.parity
def test_nano_s_encoders_fit_the_same_place(pro: Pack, folder: Path) -> None:
    """Whisper features at 50 Hz, a GE2E embedding, no BERT; a wave too long says so."""
    pack = with_nano_encoders(pro, folder)
    reference = make(pack)
    samples = wave(16000)
    assert reference.ssl_features(samples).shape == (pack.config.ssl.dim, 50)
    assert len(reference.semantic_tokens(samples)) == 25
    embedding = reference.speaker_embedding(samples)
    assert embedding is not None and embedding.shape == (pack.config.acoustic.speaker_dim,)
    assert reference.style_vector(wave(32000), embedding).shape == (pack.config.acoustic.gin_dim,)
    assert reference.bert("你好") is None
    with pytest.raises(VoiceError, match=r"is 3\.0 s long, this model takes 2 s at most"):
        reference.semantic_tokens(wave(48000))


@pytest.mark.parity
def test_models_without_a_speaker_network_give_none(fixtures_dir: Path, folder: Path) -> None:
    """v2 takes only the spectrogram."""
    reference = make(tiny_pack(fixtures_dir, folder / "v2", "v2"))
    assert reference.speaker_embedding(wave(16000)) is None
    assert reference.style_vector(wave(32000), None).ndim == 1
