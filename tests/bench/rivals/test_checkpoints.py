"""Random checkpoints that know when to stop."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from bench.official_files import GptSizes
from bench.rivals.checkpoints import (
    end_row,
    gpt_that_ends,
    sinusoids,
    speech_like,
    write_recording,
)

_OTHERS_LARGEST = 8.0  # of 1024 normal logits of deviation 2.3


@pytest.mark.parametrize("end_at", [60, 189, 400])
def test_the_end_token_wins_from_its_position_on_and_never_before(end_at: int) -> None:
    """Far below the other logits up to the position before, above them at it and after."""
    row = end_row(end_at, 512)
    positions = np.arange(max(0, end_at - 150), end_at + 20)
    logits = sinusoids(positions, 512) @ row
    assert logits[positions < end_at].max() < 3.0
    assert logits[positions == end_at].item() > _OTHERS_LARGEST
    assert logits[positions > end_at].min() > 2 * _OTHERS_LARGEST


def test_nothing_else_in_the_network_is_seen_by_the_end_tokens_row() -> None:
    """Embeddings and what layers add are orthogonal to it; the mean, which norms take out, too."""
    sizes = GptSizes(layers=1, dim=64, heads=4, vocab=65, phonemes=20, bert=8)
    tensors = gpt_that_ends(30, sizes)
    row = tensors["model.ar_predict_layer.weight"][-1]
    assert abs(row.sum()) < 1e-3 * np.abs(row).sum()
    embeddings = tensors["model.ar_audio_embedding.word_embeddings.weight"]
    assert np.abs(embeddings @ row).max() < 1e-4 * np.linalg.norm(row)
    for name in ("self_attn.out_proj", "linear2"):
        added = tensors[f"model.h.layers.0.{name}.weight"]
        assert np.abs(row @ added).max() < 1e-4 * np.linalg.norm(row)
        assert np.abs(added).max() > 0


def test_the_recording_is_long_and_loud_enough_to_enrol(tmp_path: Path) -> None:
    """32 kHz, 16 bits, mono, no clipping."""
    samples = speech_like(4.0)
    write_recording(tmp_path / "a.wav", samples)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnframes(), file.getframerate(), file.getsampwidth()) == (128000, 32000, 2)
    assert 0.05 < np.sqrt(np.mean(samples**2)) < 0.2 and np.abs(samples).max() < 1.0
