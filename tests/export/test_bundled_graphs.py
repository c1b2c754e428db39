"""The bundled graphs against torch on what is really spoken: a text, a voice, and its own audio."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.audio.resample import resample
from engine.backends.base import Backend
from engine.backends.onnx_backend import OnnxBackend
from engine.backends.torch_backend import TorchBackend
from engine.config import EngineConfig
from engine.pack import Pack, load_pack
from engine.paths import BUNDLED, DEFAULT
from engine.text.frontend import Frontend
from engine.types import FloatArray, IntArray, Language, Phonemes, StreamMode, SynthesisParams
from engine.vocoding import VocoderStream
from engine.voices import PackVoices
from tests.numerics import END_TO_END, assert_close

pytestmark = [pytest.mark.export, pytest.mark.timeout(600)]
TEXT = "The weather is nice today, let us go for a walk along the river."
STEPS = 60


@pytest.fixture(scope="module")
def pack() -> Pack:
    torch.set_num_threads(1)
    return load_pack(BUNDLED / DEFAULT)


@pytest.fixture(scope="module")
def backends(pack: Pack) -> tuple[Backend, Backend]:
    """Graphs, and the networks they were made of."""
    config = EngineConfig(num_slots=1)
    return OnnxBackend(pack, config), TorchBackend(pack, config)


@pytest.fixture(scope="module")
def phonemes(pack: Pack) -> Phonemes:
    return Frontend(pack.symbol_set).phonemize(TEXT, Language.EN)


def greedy(backend: Backend, phonemes: Phonemes) -> IntArray:
    logits = backend.semantic.prefill(0, phonemes.ids, None, np.zeros(0, np.int64))
    tokens = []
    for _ in range(STEPS):
        tokens.append(int(logits[:-1].argmax()))  # the end would be said too early
        logits = backend.semantic.decode([0], np.array(tokens[-1:]))[0]
    backend.semantic.release(0)
    return np.array(tokens)


def spoken(backend: Backend, pack: Pack, phonemes: Phonemes, tokens: IntArray) -> FloatArray:
    style = PackVoices(pack, None).style("anna", "default")
    params = SynthesisParams(seed=1, mode=StreamMode.EXACT)
    stream = VocoderStream(
        backend.acoustic, phonemes, style.vector, sentence_index=0, params=params
    )
    return stream.step(tokens, len(tokens), final=True).samples


def test_a_text_gives_torch_s_tokens(backends: tuple[Backend, Backend], phonemes: Phonemes) -> None:
    """Sixty of them, each the likeliest after those before it."""
    ours, theirs = (greedy(backend, phonemes) for backend in backends)
    np.testing.assert_array_equal(ours, theirs)
    assert len(set(ours.tolist())) > 5


def test_a_voice_s_audio_is_torch_s_and_so_is_what_is_heard_in_it(
    backends: tuple[Backend, Backend], pack: Pack, phonemes: Phonemes
) -> None:
    """Text, prior, flow and decoder; then SSL, tokens, speaker and style of the very audio."""
    tokens = greedy(backends[0], phonemes)
    ours, theirs = (spoken(backend, pack, phonemes, tokens) for backend in backends)
    # The phase is a running sum of pitches, and rounding adds up in it.
    assert_close(ours, theirs, 10 * END_TO_END, "audio")
    wide = theirs
    narrow = resample(wide, pack.config.acoustic.sample_rate_hz, 16000)
    one, two = (backend.reference for backend in backends)
    np.testing.assert_array_equal(one.semantic_tokens(narrow), two.semantic_tokens(narrow))
    speakers = [reference.speaker_embedding(narrow) for reference in (one, two)]
    assert_close(speakers[0], speakers[1], END_TO_END, "speaker")
    styles = [reference.style_vector(wide, speakers[1]) for reference in (one, two)]
    assert_close(styles[0], styles[1], END_TO_END, "style")
