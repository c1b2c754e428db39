"""Recordings become voices with the features that the public implementation takes from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.audio.io import Recording
from engine.audio.loudness import TARGET_LUFS, apply_gain, integrated_loudness
from engine.audio.spectrogram import linear_spectrogram
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.enroll import Enroller, Prompt, without_lead_in
from engine.errors import VoiceError
from engine.model_config import AcousticConfig, ModelConfig, T2SConfig
from engine.pack import Pack
from engine.text.frontend import Frontend
from engine.types import FloatArray, IntArray, Language
from tests.speechlike import noise, silence, speechlike
from tests.tiny_packs import FAMILIES, tiny_pack

RATE = 32000
TEXT = "你好，欢迎来到直播间。"


@pytest.fixture(scope="module", params=FAMILIES)
def pack(
    fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Pack:
    """The tiny model of each version."""
    torch.set_num_threads(1)
    return tiny_pack(fixtures_dir, tmp_path_factory.mktemp("enroll"), request.param)


@pytest.mark.parity
def test_every_version_enrols_and_crosses_languages(pack: Pack) -> None:
    """A Chinese and an English reference give complete styles in the pack's own sizes."""
    backend = create_backend("torch", pack, EngineConfig(backend="torch", num_slots=1))
    enroller = Enroller(backend.reference, Frontend(pack.symbol_set), pack.config)
    recording = Recording(speechlike(4.0, 44100), 44100, "ref.wav")
    for language, text in ((Language.ZH, TEXT), (Language.EN, "Welcome to the live room today.")):
        style = enroller.enroll(Prompt(recording, text, language)).style
        # 4 s and the 0.6 s of zeros that upstream appends, at 25 tokens per second.
        assert 0 <= 4.6 * 25 - len(style.prompt_tokens) < 2
        assert style.prompt_tokens.dtype == style.prompt_phoneme_ids.dtype == np.int64
        assert style.prompt_tokens.max() < pack.config.acoustic.codebook_size
        assert style.prompt_phoneme_ids.max() < pack.config.acoustic.num_phonemes
        assert style.vector.shape == (pack.config.acoustic.gin_dim,)
        assert style.vector.dtype == np.float32
        has_bert = language is Language.ZH
        assert (style.prompt_bert is not None) is has_bert
        if style.prompt_bert is not None:
            shape = (pack.config.t2s.bert_dim, len(style.prompt_phoneme_ids))
            assert style.prompt_bert.shape == shape
        is_pro = pack.family.startswith("v2Pro")
        assert (style.speaker_embedding is not None) is is_pro


@dataclass
class _Recorder:
    """Stands in for the networks where a test looks at what is fed to them."""

    semantic: list[FloatArray] = field(default_factory=list)
    speaker: list[FloatArray] = field(default_factory=list)
    style: list[FloatArray] = field(default_factory=list)

    def semantic_tokens(self, samples_16k: FloatArray) -> IntArray:
        self.semantic.append(samples_16k)
        return np.arange(len(samples_16k) // 640, dtype=np.int64)

    def speaker_embedding(self, samples_16k: FloatArray) -> FloatArray | None:
        self.speaker.append(samples_16k)
        return np.full(4, len(self.speaker), np.float32)

    def style_vector(self, samples: FloatArray, embedding: FloatArray | None) -> FloatArray:
        self.style.append(samples)
        assert embedding is not None
        return np.array([np.abs(samples).max(), embedding[0]], np.float32)

    def bert(self, text: str) -> FloatArray | None:
        return np.ones((len(text), 1024), np.float32)


@pytest.fixture(scope="module")
def frontend() -> Frontend:
    """The frontend of the v2 inventory."""
    return Frontend("v2")


def _enroller(frontend: Frontend) -> tuple[Enroller, _Recorder]:
    recorder = _Recorder()
    config = ModelConfig("v2", T2SConfig(), AcousticConfig())
    return Enroller(recorder, frontend, config), recorder


def _recording(wave: FloatArray, name: str = "a.wav") -> Recording:
    return Recording(wave, RATE, name)


def _prompt(wave: FloatArray, text: str = TEXT, name: str = "a.wav") -> Prompt:
    return Prompt(_recording(wave, name), text, Language.ZH)


def test_ordinary_reference_reaches_the_networks_untouched(frontend: Frontend) -> None:
    """3 to 10 s are not trimmed, scaled or cleaned: upstream's features are ours."""
    enroller, seen = _enroller(frontend)
    wave = np.concatenate([silence(0.3), speechlike(4), silence(0.4)])
    used = enroller.enroll(_prompt(wave)).prompt
    np.testing.assert_array_equal(seen.style[0], wave)
    assert len(seen.semantic[0]) == len(seen.speaker[0]) == len(wave) // 2
    assert (used.start_s, used.end_s) == (0, pytest.approx(4.7))


@pytest.mark.parametrize(("peak", "expected"), [(0.9, 0.9), (1.5, 1.0), (3.0, 1.5)])
def test_peak_over_full_scale_is_divided_as_upstream_does(
    frontend: Frontend, peak: float, expected: float
) -> None:
    """By min(2, peak), for timbre only; the prompt tokens hear the wave as it is."""
    enroller, seen = _enroller(frontend)
    wave = speechlike(4)
    wave *= np.float32(peak / np.abs(wave).max())
    enroller.enroll(_prompt(wave))
    assert np.abs(seen.style[0]).max() == pytest.approx(expected, rel=1e-5)
    assert np.abs(seen.semantic[0]).max() == pytest.approx(peak, rel=0.1)


def test_several_references_average_their_timbre(frontend: Frontend) -> None:
    """Each has its own speaker embedding; vectors are averaged; words come from the first."""
    enroller, seen = _enroller(frontend)
    first, second = speechlike(4, seed=1), speechlike(5, seed=2) * np.float32(0.5)
    timbre = [_recording(first, "1"), _recording(second, "2")]
    found = enroller.enroll(_prompt(first), timbre)
    peaks = [np.abs(first).max(), np.abs(second).max()]
    np.testing.assert_allclose(found.style.vector, [np.mean(peaks), 1.5], rtol=1e-6)
    np.testing.assert_array_equal(found.style.speaker_embedding, np.full(4, 1.5))
    assert len(seen.semantic) == 1 and [used.name for used in found.timbre] == ["1", "2"]


def test_style_reference_gives_the_manner_only(frontend: Frontend) -> None:
    """With timbre from elsewhere, the prompt's own recording gives no style vector."""
    enroller, seen = _enroller(frontend)
    enroller.enroll(_prompt(speechlike(4, seed=1)), [_recording(speechlike(6, seed=2))])
    assert [len(wave) for wave in seen.semantic] == [4 * 16000]
    assert [len(wave) for wave in seen.style] == [6 * RATE]


def test_gain_brings_the_reference_to_the_common_loudness(frontend: Frontend) -> None:
    """A quiet and a loud reference of one voice end equally loud."""
    enroller, _ = _enroller(frontend)
    for level in (0.03, 0.1):
        wave = speechlike(4, level=level)
        gain_db = enroller.enroll(_prompt(wave)).style.gain_db
        assert integrated_loudness(apply_gain(wave, gain_db), RATE) == pytest.approx(
            TARGET_LUFS, abs=0.05
        )


def test_long_recording_is_cut_with_its_words(frontend: Frontend) -> None:
    """The transcript that is kept is that of the stretch that was used."""
    enroller, seen = _enroller(frontend)
    clauses = ["今天天气非常好，", "我们一起去公园里散步吧，", "晚上再回家吃饭。"]
    lengths = [len(clause) * 0.5 for clause in clauses]
    pieces = [p for n in lengths for p in (speechlike(n), silence(0.5))]
    found = enroller.enroll(_prompt(np.concatenate(pieces), "".join(clauses)))
    assert found.style.transcript in {"".join(clauses[i:j]) for i in range(3) for j in range(4)}
    assert 0 < len(found.style.transcript) < len("".join(clauses))
    expected = sum(len(c) * 0.5 for c in clauses if c in found.style.transcript)
    assert len(seen.semantic[0]) / 16000 == pytest.approx(expected, abs=1.2)


def test_without_words_there_is_no_prompt(frontend: Frontend) -> None:
    """Timbre only: no prompt tokens, no phonemes, nothing asked of the quantiser."""
    enroller, seen = _enroller(frontend)
    style = enroller.enroll(_prompt(speechlike(4), "")).style
    assert len(style.prompt_tokens) == len(style.prompt_phoneme_ids) == len(seen.semantic) == 0
    assert style.prompt_bert is None and len(style.vector) == 2


def test_a_model_without_prompts_takes_the_timbre_only(frontend: Frontend) -> None:
    """The words are checked all the same, and left out; its silence stands for the prompt."""
    config = ModelConfig("v2", T2SConfig(), AcousticConfig())
    enroller = Enroller(_Recorder(), frontend, config, prompts=False, lead_in=(7, 7))
    style = enroller.enroll(_prompt(speechlike(4))).style
    assert style.prompt_tokens.tolist() == [7, 7] and len(style.prompt_phoneme_ids) == 0
    assert style.transcript == "" and len(style.vector) == 2
    with pytest.raises(VoiceError, match="phonemes for"):
        enroller.enroll(_prompt(speechlike(4), "今天天气非常好" * 20))


@pytest.mark.parametrize(
    ("text", "seconds"), [("你好。", 9), ("今天天气非常好我们一起去公园里散步吧" * 6, 4), ("😀", 4)]
)
def test_words_that_cannot_be_those_spoken_are_refused(
    frontend: Frontend, text: str, seconds: float
) -> None:
    """Far too few or too many phonemes for the speech: the wrong transcript was given."""
    enroller, _ = _enroller(frontend)
    with pytest.raises(VoiceError, match="exactly what is said"):
        enroller.enroll(_prompt(speechlike(seconds), text))


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (speechlike(2), "too short"),
        (silence(5), "silent"),
        (noise(5, level=0.1), "background noise"),
    ],
)
def test_bad_recordings_are_refused_by_name(
    frontend: Frontend, wave: FloatArray, message: str
) -> None:
    """As prompt and as timbre; the message begins with the file's name."""
    enroller, _ = _enroller(frontend)
    for prompt, timbre in (
        (_prompt(wave, name="bad.wav"), []),
        (_prompt(speechlike(4)), [_recording(wave, "bad.wav")]),
    ):
        with pytest.raises(VoiceError, match=f"bad.wav: .*{message}") as caught:
            enroller.enroll(prompt, timbre)
        assert caught.value.code == "bad_reference"


def test_denoising_is_done_only_when_asked(frontend: Frontend) -> None:
    """The pauses are quieter then."""
    wave = np.concatenate([silence(0.5), speechlike(4), silence(0.5)]) + noise(5, level=0.003)
    floors = []
    for flag in (False, True):
        enroller, seen = _enroller(frontend)
        enroller.enroll(_prompt(wave), denoise=flag)
        floors.append(float(np.std(seen.style[0][: RATE // 4])))
    assert floors[1] < floors[0] / 3


def test_marks_before_the_first_word_leave_the_prompt(frontend: Frontend) -> None:
    """A breath that the frontend adds for short clauses is not in the recording."""
    phonemes = frontend.phonemize(TEXT, Language.ZH)
    assert phonemes.symbols[0] == "."
    prompt = without_lead_in(phonemes)
    assert prompt.symbols == phonemes.symbols[1:] and len(prompt.words) == len(phonemes.words) - 1
    kept = frontend.phonemize("……你好世界。", Language.ZH)
    assert without_lead_in(kept).symbols == kept.symbols


def test_too_many_references_are_refused(frontend: Frontend) -> None:
    """A typed error names the limit."""
    enroller, _ = _enroller(frontend)
    many: Sequence[Recording] = [_recording(speechlike(4))] * 17
    with pytest.raises(VoiceError, match="up to 16"):
        enroller.enroll(_prompt(speechlike(4)), many)


@pytest.mark.parity
@pytest.mark.parametrize("pack", ["v2"], indirect=True)
def test_style_vector_is_that_of_the_spectrogram(pack: Pack) -> None:
    """The vector of two references is the mean of theirs, through the same spectrogram."""
    backend = create_backend("torch", pack, EngineConfig(backend="torch", num_slots=1))
    enroller = Enroller(backend.reference, Frontend(pack.symbol_set), pack.config)
    waves = [speechlike(3.5, seed=1), speechlike(4.0, seed=2)]
    recordings = [_recording(wave) for wave in waves]
    both = enroller.enroll(_prompt(waves[0]), recordings).style
    alone = [enroller.enroll(_prompt(w), [r]).style for w, r in zip(waves, recordings, strict=True)]
    np.testing.assert_allclose(both.vector, np.mean([s.vector for s in alone], axis=0), atol=1e-6)
    spec = linear_spectrogram(waves[0], n_fft=2048, hop=640)
    expected = backend.acoustic.style_vector([spec], [])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(alone[0].vector, expected)
