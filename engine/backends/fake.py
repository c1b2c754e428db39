"""A backend without a network: tones whose content says which sentence, token and voice they are.

It runs the whole server in tests and load runs. The semantic stage speaks a fixed number of tokens
per phoneme, each a function of (phonemes, voice prompt, position); the acoustic stage turns a
token into a tone of a frequency of its own, so a wrong voice, a lost or a repeated token is heard
in the samples. Step times and failures are scripted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from engine.backends.base import PriorStats, TextEncoding
from engine.errors import EngineFailed
from engine.model_config import AcousticConfig, HifiGanConfig, ModelConfig, T2SConfig
from engine.types import FRAMES_PER_TOKEN, FloatArray, IntArray, Language, Style, Voice

NOTICE = "fake backend, tones only"
_LATENT_DIM = 4
_SILENT = 1023  # a token without a tone; the others are below 1000


@dataclass(frozen=True, slots=True)
class FakeScript:
    """How the fake backend behaves; all times in seconds, slept on the calling lane."""

    tokens_per_phoneme: int = 3
    silent_tokens: int = 0  # before each sentence's tones
    prefill_s: float = 0.0
    step_s: float = 0.0
    step_per_row_s: float = 0.0
    vocode_per_frame_s: float = 0.0
    fail_at_phoneme: Mapping[int, str] = field(default_factory=dict)  # sentences with it fail
    exit_at_phoneme: int | None = None  # the process dies when a sentence has this phoneme
    num_slots: int = 16


def expected_tokens(phoneme_ids: IntArray, prompt_tokens: IntArray, script: FakeScript) -> IntArray:
    """Return the tokens the fake backend speaks for a sentence: int64 [T]."""
    count = max(12, script.tokens_per_phoneme * len(phoneme_ids))
    salt = int(phoneme_ids.sum()) + 7 * int(prompt_tokens.sum())
    tones = (np.arange(count, dtype=np.int64) * 37 + salt) % 1000
    return np.concatenate([np.full(script.silent_tokens, _SILENT, np.int64), tones])


@lru_cache(maxsize=1025)
def tone(token: int, hop: int, sample_rate_hz: int) -> FloatArray:
    """Return the samples of one token: a sine of 200 + 2 * token Hz, whole, float32 [2 * hop]."""
    if token == _SILENT:
        return np.zeros(FRAMES_PER_TOKEN * hop, np.float32)
    time_s = np.arange(FRAMES_PER_TOKEN * hop) / sample_rate_hz
    samples = (0.3 * np.sin(2 * np.pi * (200 + 2 * token) * time_s)).astype(np.float32)
    samples.flags.writeable = False  # the same for everybody
    return samples


def _wait(seconds: float) -> None:
    """Sleep, unless for nothing: that too would wait for the GIL."""
    if seconds:
        time.sleep(seconds)


class FakeSemantic:
    """Speaks `expected_tokens`, whatever is sampled."""

    def __init__(self, config: T2SConfig, script: FakeScript) -> None:
        self.num_slots = script.num_slots
        self.max_positions = 4000
        # Falling, not flat: no network gives a thousand equal logits, and finding the best of those
        # takes four times as long.
        self._others = (-50.0 - 0.01 * np.arange(config.vocab_size)).astype(np.float32)
        self._script = script
        self._rows: dict[int, tuple[IntArray, int, str | None]] = {}

    def prefill(
        self, slot: int, phoneme_ids: IntArray, bert: FloatArray | None, prompt_tokens: IntArray
    ) -> FloatArray:
        """See SemanticDecoder."""
        _wait(self._script.prefill_s)
        assert slot not in self._rows, f"slot {slot} was not released"
        if self._script.exit_at_phoneme in phoneme_ids.tolist():
            os._exit(9)
        tokens = expected_tokens(phoneme_ids, prompt_tokens, self._script)
        failures = [why for p, why in self._script.fail_at_phoneme.items() if p in phoneme_ids]
        self._rows[slot] = (tokens, 0, failures[0] if failures else None)
        return self._logits(slot)

    def decode(self, slots: Sequence[int], tokens: IntArray) -> FloatArray:
        """See SemanticDecoder."""
        _wait(self._script.step_s + self._script.step_per_row_s * len(slots))
        for slot in slots:
            _, position, failure = self._rows[slot]
            if failure is not None and position >= 5:
                raise EngineFailed(failure)
        for slot in slots:
            planned, position, failure = self._rows[slot]
            self._rows[slot] = (planned, position + 1, failure)
        return np.stack([self._logits(slot) for slot in slots])

    def rewind(self, slot: int, num_tokens: int) -> None:
        """See SemanticDecoder."""
        planned, position, failure = self._rows[slot]
        self._rows[slot] = (planned, position - num_tokens, failure)

    def release(self, slot: int) -> None:
        """See SemanticDecoder."""
        self._rows.pop(slot, None)

    def _logits(self, slot: int) -> FloatArray:
        tokens, position, _ = self._rows[slot]
        logits = self._others.copy()
        logits[tokens[position] if position < len(tokens) else -1] = 50.0
        return logits


class FakeAcoustic:
    """Carries the token number through the latents to a tone."""

    sample_rate_hz = 32000
    hop = 640
    latent_dim = _LATENT_DIM
    source_rows = 0
    flow_halo = 2
    decoder_halo = 1
    decoder_widths = ()

    def __init__(self, script: FakeScript) -> None:
        self._script = script

    def encode_text(self, phoneme_ids: IntArray, style: FloatArray) -> TextEncoding:
        """See AcousticModel."""
        return TextEncoding(None, len(phoneme_ids))

    def prior(self, tokens: IntArray, text: TextEncoding) -> PriorStats:
        """See AcousticModel. Attention points through the phonemes at an even pace."""
        frames = np.repeat(tokens, FRAMES_PER_TOKEN).astype(np.float32)
        halves = np.tile(np.arange(FRAMES_PER_TOKEN, dtype=np.float32), len(tokens))
        mean = np.stack([frames, halves, frames, halves])
        return PriorStats(mean, np.full_like(mean, -100.0))

    def flow(self, latent: FloatArray, style: FloatArray) -> FloatArray:
        """See AcousticModel."""
        return latent

    def decoder(
        self, latent: FloatArray, style: FloatArray, before: int = 0, after: int = 0
    ) -> FloatArray:
        """See AcousticModel."""
        _wait(self._script.vocode_per_frame_s * latent.shape[1])
        latent = latent[:, before : latent.shape[1] - after]
        frames = [
            tone(round(float(token)), self.hop, self.sample_rate_hz)[
                round(float(half)) * self.hop :
            ][: self.hop]
            for token, half in zip(latent[0], latent[1], strict=True)
        ]
        return np.concatenate(frames) if frames else np.zeros(0, np.float32)


class FakeReference:
    """Makes a voice out of the bytes of its reference."""

    def semantic_tokens(self, samples_16k: FloatArray) -> IntArray:
        """See ReferenceEncoder."""
        return np.arange(max(1, len(samples_16k) // 640), dtype=np.int64) % 1000

    def speaker_embedding(self, samples_16k: FloatArray) -> FloatArray | None:
        """See ReferenceEncoder."""
        return None

    def style_vector(self, samples: FloatArray, embedding: FloatArray | None) -> FloatArray:
        """See ReferenceEncoder."""
        return np.full(8, float(np.abs(samples).mean()), np.float32)

    def bert(self, text: str) -> FloatArray | None:
        """See ReferenceEncoder."""
        return None


class FakeBackend:
    """Everything above, as a Backend."""

    notice = NOTICE

    def __init__(self, script: FakeScript | None = None) -> None:
        self.script = script or FakeScript()
        self.config = ModelConfig(
            family="fake",
            t2s=T2SConfig(num_layers=1, hidden_dim=8, num_heads=1, ffn_dim=8, bert_dim=8),
            acoustic=AcousticConfig(
                latent_dim=_LATENT_DIM, gin_dim=8, decoder=HifiGanConfig(initial_channels=32)
            ),
        )
        self.semantic = FakeSemantic(self.config.t2s, self.script)
        self.acoustic = FakeAcoustic(self.script)
        self.reference = FakeReference()

    def describe(self) -> dict[str, str]:
        """See Backend."""
        return {"runtime": "fake", "device": "cpu", "thread": threading.current_thread().name}


def fake_voices(count: int = 2) -> dict[str, Voice]:
    """Return voices `fake`, `fake-1`, ... that differ in their prompt tokens."""
    voices = {}
    for number in range(count):
        style = Style(
            prompt_phoneme_ids=np.array([1, 2, 3], np.int64),
            prompt_tokens=np.array([number, number + 5, 11], np.int64),
            vector=np.full(8, 0.1 * number, np.float32),
            language=Language.ZH,
            transcript="",
        )
        name = "fake" if number == 0 else f"fake-{number}"
        voices[name] = Voice(name, "fake", {"default": style}, description="a tone")
    return voices
