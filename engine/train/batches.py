"""Batches from a feature store, each a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.errors import CheckpointError
from engine.train.store import Entry, Features, FeatureStore
from engine.types import FRAMES_PER_TOKEN, Array

_FULL_SCALE = 32767.0


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One utterance in memory; T tokens, F = 2T frames."""

    entry: Entry
    features: Features
    tokens: Array  # int64 [T], empty before the token stage
    place: Array | None = None  # int64 [T], the phoneme spoken at each token, where it is known

    @property
    def num_frames(self) -> int:
        """F."""
        return len(self.features.hz)

    def wave(self, start_frame: int, num_frames: int, hop: int) -> Array:
        """Return float32 samples of some frames, zeros beyond the end."""
        samples = self.features.wave[start_frame * hop : (start_frame + num_frames) * hop]
        padded = np.zeros(num_frames * hop, np.float32)
        padded[: len(samples)] = samples.astype(np.float32) / _FULL_SCALE
        return padded


class Corpus:
    """The utterances of a store in memory, with their speakers."""

    def __init__(self, items: Sequence[Item]) -> None:
        if not items:
            raise CheckpointError("nothing to train on: the feature store holds no utterance")
        self.items = list(items)
        self.by_speaker: dict[str, list[Item]] = {}
        for item in items:
            self.by_speaker.setdefault(item.entry.speaker, []).append(item)

    @classmethod
    def load(
        cls,
        store: FeatureStore,
        entries: Sequence[Entry],
        tokens: Mapping[str, Array],
        places: Mapping[str, Array] | None = None,
    ) -> Corpus:
        """Read `entries`; utterances without tokens or places get none."""
        empty, known = np.zeros(0, np.int64), places or {}
        return cls(
            [Item(e, store.load(e.id), tokens.get(e.id, empty), known.get(e.id)) for e in entries]
        )

    def __len__(self) -> int:
        return len(self.items)

    def companion(self, item: Item, rng: np.random.Generator) -> Item:
        """Return any utterance of the same speaker, `item` itself included."""
        same = self.by_speaker[item.entry.speaker]
        return same[int(rng.integers(len(same)))]


def generator(seed: int, step: int) -> np.random.Generator:
    """Return the generator of a step's batch."""
    return np.random.default_rng((seed, step))


@dataclass(frozen=True, slots=True, eq=False)
class AcousticBatch:
    """What the acoustic stage reads.

    Shapes: wave [B, N]; cycles [B, 1, F]; voiced, mask [B, 1, F]; reference [B, R]; speaker
    [B, E]; tokens int64 [B, T]; phonemes int64 [B, P]; text_mask [B, 1, P]; place int64 [B, F],
    the phoneme spoken in each frame, -1 unknown.
    """

    wave: Tensor
    cycles: Tensor
    voiced: Tensor
    mask: Tensor
    reference: Tensor
    speaker: Tensor
    tokens: Tensor
    phonemes: Tensor
    text_mask: Tensor
    place: Tensor


@dataclass(frozen=True, slots=True)
class AcousticShape:
    """Sizes of an acoustic batch."""

    hop: int
    sample_rate_hz: int
    batch_size: int
    max_frames: int  # longer utterances are cut at random
    reference_frames: int


def acoustic_batch(corpus: Corpus, shape: AcousticShape, rng: np.random.Generator) -> AcousticBatch:
    """Draw a batch; all rows are as long as its longest piece."""
    chosen = [corpus.items[i] for i in rng.integers(len(corpus), size=shape.batch_size)]
    lengths = [min(item.num_frames, shape.max_frames) for item in chosen]
    starts = [
        FRAMES_PER_TOKEN * int(rng.integers((item.num_frames - n) // FRAMES_PER_TOKEN + 1))
        for item, n in zip(chosen, lengths, strict=True)
    ]
    frames = max(lengths)
    references = [corpus.companion(item, rng) for item in chosen]
    rows = list(zip(chosen, starts, lengths, strict=True))
    return AcousticBatch(
        wave=_stack([item.wave(s, frames, shape.hop) for item, s, _ in rows]),
        cycles=_rows([_cycles(item, s, n, shape) for item, s, n in rows], frames)[:, None],
        voiced=_rows([item.features.voiced[s : s + n] for item, s, n in rows], frames)[:, None],
        mask=_rows([np.ones(n, np.float32) for n in lengths], frames)[:, None],
        reference=_stack([_reference(item, shape, rng) for item in references]),
        speaker=_stack([item.features.speaker for item in references]),
        tokens=pad_ids([item.tokens[s // 2 : (s + n) // 2] for item, s, n in rows]),
        phonemes=pad_ids([item.features.phoneme_ids for item in chosen]),
        text_mask=_rows(
            [np.ones(len(item.features.phoneme_ids), np.float32) for item in chosen],
            max(len(item.features.phoneme_ids) for item in chosen),
        )[:, None],
        place=pad_ids([_place(item, s, n) + 1 for item, s, n in rows]) - 1,
    )


def _place(item: Item, start: int, count: int) -> Array:
    """Return the phoneme of each frame, -1 where it is not known."""
    if item.place is None:
        return np.full(count, -1, np.int64)
    return np.repeat(item.place, FRAMES_PER_TOKEN)[start : start + count]


def _cycles(item: Item, start: int, count: int, shape: AcousticShape) -> Array:
    """Return cycles per frame, smoothed so that their sum is the phase of a gliding tone."""
    hz = np.pad(item.features.hz, 1, mode="edge")
    smooth = (hz[:-2] + 2 * hz[1:-1] + hz[2:]) / 4
    return np.asarray(smooth[start : start + count] * (shape.hop / shape.sample_rate_hz))


def _reference(item: Item, shape: AcousticShape, rng: np.random.Generator) -> Array:
    """Cut a reference; a shorter utterance is repeated, as silence would be read as style."""
    start = int(rng.integers(max(1, item.num_frames - shape.reference_frames + 1)))
    count = min(item.num_frames, shape.reference_frames)
    samples = item.wave(start, count, shape.hop)
    return np.resize(samples, shape.reference_frames * shape.hop)


def _stack(rows: Sequence[Array]) -> Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def _rows(rows: Sequence[Array], length: int) -> Tensor:
    """Stack rows, padded with 0: float32 [B, length]."""
    padded = np.zeros((len(rows), length), np.float32)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded)


def pad_ids(rows: Sequence[Array]) -> Tensor:
    """Stack rows of ids, padded with 0: int64 [B, L]."""
    padded = np.zeros((len(rows), max(len(row) for row in rows)), np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded)
