"""One sentence's life, with logits by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.chunking import ChunkSchedule
from engine.collapse import MAX_EQUAL_RUN, Collapse, token_limit
from engine.errors import TextError
from engine.job import MAX_RETRIES, Job
from engine.model_config import AcousticConfig, ModelConfig, T2SConfig
from engine.playout import PlayoutClock
from engine.sampling import choose
from engine.scheduler import Phase
from engine.types import FloatArray, Language, StreamMode, Style, SynthesisParams
from engine.vocoding import VocoderOutput
from tests.engine.jobs import make_job

VOCAB = 33
EOS = VOCAB - 1
CONFIG = ModelConfig(family="fake", t2s=T2SConfig(vocab_size=VOCAB), acoustic=AcousticConfig())
STYLE = Style(
    prompt_phoneme_ids=np.array([1, 2], np.int64),
    prompt_tokens=np.array([3, 4, 5], np.int64),
    vector=np.zeros(4, np.float32),
    language=Language.ZH,
    transcript="",
)


def start(
    *,
    phonemes: int = 20,
    max_positions: int = 1000,
    mode: StreamMode = StreamMode.FAST,
    top_k: int = 1,
) -> Job:
    """Return a decoding job; FAST mode needs 2 tokens beyond the first chunk, 4 beyond others."""
    job = Job(
        make_job(*range(20, 20 + phonemes), params=SynthesisParams(top_k=top_k, mode=mode)),
        STYLE,
        PlayoutClock(0.0, first_audio_s=0.25),
        config=CONFIG,
        max_positions=max_positions,
        schedule=ChunkSchedule(),
    )
    job.phase = Phase.DECODING
    return job


def logits(token: int) -> FloatArray:
    """Return logits that leave no choice."""
    row = np.full(VOCAB, -100.0, np.float32)
    row[token] = 100.0
    return row


def test_chunks_appear_as_tokens_come_and_the_end_completes_them() -> None:
    """The first chunk of five tokens needs two more; EOS gives the rest."""
    job = start()
    for count in range(1, 8):
        assert job.take(job.draw(logits(count))) == 0
        assert len(job.chunks) == (count >= 7)
    for count in range(8, 15):
        job.take(job.draw(logits(count)))
    job.take(job.draw(logits(EOS)))
    assert job.phase is Phase.SPEAKING
    assert sum(chunk.num_new for chunk in job.chunks) == 14
    assert job.chunks[-1].is_last


def test_a_stuck_token_is_drawn_again_from_where_it_was_healthy() -> None:
    """The cache forgets the loop, other draws follow, and chunks already cut stay as they are."""
    job = start()
    for token in range(10):
        job.take(job.draw(logits(token)))
    forgotten = 0
    for _ in range(MAX_EQUAL_RUN):
        forgotten = job.take(job.draw(logits(20)))
        if forgotten:
            break
    assert job.collapse is Collapse.EQUAL_RUN
    assert job.attempt == 1 and job.phase is Phase.DECODING
    planned = sum(chunk.num_new for chunk in job.chunks)
    assert len(job.tokens) + forgotten == 10 + MAX_EQUAL_RUN
    assert planned < len(job.tokens)
    job.take(job.draw(logits(30)))
    assert job.tokens[-1] == 30


def test_a_hopeless_sentence_ends_after_its_retries() -> None:
    """It stops where it was last healthy instead of going on for a minute, and is counted."""
    job = start(phonemes=60)
    steps = 0
    while job.phase is Phase.DECODING:
        job.take(job.draw(logits(20)))
        steps += 1
        assert steps < 1000
    assert job.attempt == MAX_RETRIES
    assert sum(chunk.num_new for chunk in job.chunks) == len(job.tokens)
    assert len(job.tokens) < (MAX_RETRIES + 1) * MAX_EQUAL_RUN


def test_a_sentence_ends_at_its_length_limit_or_when_the_slot_is_full() -> None:
    """Speech without end is cut; a full slot is an end, not an error."""
    job = start(phonemes=3)
    while job.phase is Phase.DECODING:
        job.take(job.draw(logits(len(job.tokens) * 7 % 31)))
    assert len(job.tokens) == token_limit(3)
    job = start(phonemes=3, max_positions=2 + 3 + 3 + 20)
    while job.phase is Phase.DECODING:
        job.take(job.draw(logits(len(job.tokens) * 7 % 31)))
    assert len(job.tokens) == 20


def test_a_sentence_without_room_is_refused() -> None:
    """The message says how many phonemes and positions."""
    with pytest.raises(TextError, match="20 phonemes does not fit into 25 positions"):
        start(max_positions=25)


def test_exact_mode_cuts_nothing_before_the_end() -> None:
    """All chunks appear with EOS, each knowing the whole sentence."""
    job = start(mode=StreamMode.EXACT)
    for token in range(30):
        job.take(job.draw(logits(token)))
    assert not job.chunks
    job.take(job.draw(logits(EOS)))
    assert all(len(chunk.tokens) == 30 for chunk in job.chunks)
    assert sum(chunk.num_new for chunk in job.chunks) == 30


def test_steps_before_the_onset_are_heard_with_it() -> None:
    """Tokens and their phonemes wait for the samples; the pause is not part of the silence."""
    job = start()
    silence, tone = np.zeros(1280, np.float32), np.full(1280, 0.2, np.float32)
    first = VocoderOutput(silence, 1, np.array([0], np.int64))
    second = VocoderOutput(np.concatenate([silence, tone]), 2, np.array([0, 1], np.int64))
    assert job.hear(first, 32000, is_final=False) is None
    chunk = job.hear(second, 32000, is_final=False)
    assert chunk is not None and chunk.token_phonemes is not None
    assert (chunk.num_tokens, chunk.token_phonemes.tolist()) == (3, [0, 0, 1])
    assert (chunk.num_trimmed, len(chunk.samples)) == (2 * 1280 - 60 * 32, 60 * 32 + 1280)
    last = job.hear(VocoderOutput(tone, 1, None), 32000, is_final=True)
    assert last is not None
    assert (last.num_tokens, last.token_phonemes, last.num_trimmed) == (1, None, 0)


def test_what_a_device_chooses_is_what_the_job_would_draw() -> None:
    """With the draws of the seed and of the attempt, through a collapse and on."""
    one, other = (start(phonemes=40, top_k=VOCAB) for _ in range(2))
    rng = np.random.default_rng(7)
    drawn = set()
    for step in range(200):
        row = rng.standard_normal(VOCAB).astype(np.float32)
        row[EOS] = -100.0
        if 30 <= step < 30 + MAX_EQUAL_RUN:
            row = logits(20)
        token = one.draw(row)
        assert other.draw(choose(row, other.next_draw())) == token
        assert one.take(token) == other.take(token)
        drawn.add(token)
    assert one.attempt == other.attempt == 1
    assert one.tokens == other.tokens and len(drawn) > 20
