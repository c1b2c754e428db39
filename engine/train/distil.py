"""Stage 3a: tokens of texts that nobody has spoken.

A synthetic teacher knows what it will say before its vocoder, the costly part, says it: the text
stretched to its durations, with pitch and energy. A small network learns from the utterances that
were spoken which token the quantizer finds where the teacher is in which state; further texts then
cost a tenth. Its most probable tokens are also steadier than the quantizer's, which change with
speaker and noise: T2S learns them in a fraction of the time, and what it speaks is clearer.

A folder of states holds `manifest.jsonl`, a line `{"id", "speaker", "lang", "text", "phonemes",
"durations"}` per utterance (as the corpus has), and `ID.safetensors` with `states` float16 [F, D],
one row per 20 ms. Utterances that are in the work folder's features as well were spoken.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from engine.enroll import Phonemizer
from engine.errors import CheckpointError, TextError
from engine.train.batches import Corpus, Item, generator
from engine.train.loop import LoopSettings, clip_and_step
from engine.train.prepare import TEACHER_FRAME_S
from engine.train.store import Entry, Features, FeatureStore
from engine.types import FRAMES_PER_TOKEN, Array, Language

logger = logging.getLogger(__name__)

_TOKENS = "tokens.safetensors"
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """Sizes of the network and its batches."""

    hidden_dim: int = 384
    layers: int = 4
    input_dropout: float = 0.2
    dropout: float = 0.15
    batch_size: int = 24
    autocast: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """What the teacher was about to say; states float32 [T, 2D], a row per token."""

    entry: Entry
    states: Array


def read_states(folder: Path) -> list[States]:
    """Read a folder of states.

    Raises:
        CheckpointError: If the manifest or a file of it cannot be read.
    """
    manifest = folder / "manifest.jsonl"
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
        return [_states(folder, json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{manifest}: {error!r}") from error


def _states(folder: Path, line: dict[str, str]) -> States:
    durations_s = tuple(int(frames) * TEACHER_FRAME_S for frames in line["durations"])
    entry = Entry(
        id=line["id"],
        speaker=line["speaker"],
        language=Language(line["lang"]).value,
        text=line["text"],
        seconds=sum(durations_s),
        symbols=("", *line["phonemes"], ""),
        durations_s=durations_s,
    )
    frames = load_file(folder / f"{entry.id}.safetensors")["states"].astype(np.float32)
    num_tokens = len(frames) // FRAMES_PER_TOKEN
    return States(entry, frames[: FRAMES_PER_TOKEN * num_tokens].reshape(num_tokens, -1))


class TokenTeacher(nn.Module):
    """States to the quantizer's tokens: convolutions over time between layers of each row."""

    mean: Tensor
    scale: Tensor

    def __init__(self, state_dim: int, vocab_size: int, settings: DistilSettings) -> None:
        super().__init__()
        hidden = settings.hidden_dim
        self.register_buffer("mean", torch.zeros(state_dim))
        self.register_buffer("scale", torch.ones(state_dim))
        self.input_dropout = nn.Dropout(settings.input_dropout)
        self.input = nn.Linear(state_dim, hidden)
        self.blocks = nn.ModuleList(
            _Block(hidden, settings.dropout) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, vocab_size)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return logits [B, T, V] of states [B, T, 2D]; mask [B, T, 1] is 0 on padding."""
        x = self.input(self.input_dropout((states - self.mean) / self.scale))
        for block in self.blocks:
            x = block(x * mask)
        logits: Tensor = self.head(self.norm(x))
        return logits


class _Block(nn.Module):
    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.time = nn.Conv1d(hidden, hidden, 5, padding=2, groups=hidden)
        self.mix = nn.Sequential(
            nn.Dropout(dropout),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, 3 * hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(3 * hidden, hidden),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.mix(self.time(x.transpose(1, 2)).transpose(1, 2))
        return mixed


class DistilStage:
    """A `Stage` of the loop that trains a `TokenTeacher`.

    Args:
        spoken: States and the tokens int64 [T] of their recordings; a token more or less is cut.
        codebook_size: V.
    """

    averaged: tuple[str, ...] = ()

    def __init__(
        self,
        spoken: Sequence[tuple[States, Array]],
        codebook_size: int,
        settings: DistilSettings,
        loop: LoopSettings,
    ) -> None:
        self.settings, self.loop = settings, loop
        # By length, so that neighbours make a batch with little padding.
        self.spoken = sorted(spoken, key=lambda pair: len(pair[0].states))
        rows = np.concatenate([states.states for states, _ in self.spoken])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loop.seed)
            self.network = TokenTeacher(rows.shape[1], codebook_size, settings)
        self.network.mean.copy_(torch.from_numpy(rows.mean(axis=0)))
        self.network.scale.copy_(torch.from_numpy(rows.std(axis=0) + 1e-3))
        self.parameters = list(self.network.parameters())
        self.networks: Mapping[str, nn.Module] = {"teacher": self.network}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "teacher": torch.optim.AdamW(self.parameters, betas=(0.9, 0.98), weight_decay=0.05)
        }

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        size = min(self.settings.batch_size, len(self.spoken))
        start = int(generator(self.loop.seed, step).integers(len(self.spoken) - size + 1))
        states, targets, mask = _collate(self.spoken[start : start + size])
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            logits = self.network(states, mask)
        loss = functional.cross_entropy(
            logits.float().transpose(1, 2), targets, ignore_index=_IGNORED
        )
        loss.backward()  # type: ignore[no-untyped-call]
        clip_and_step([self.optimizers["teacher"]], self.parameters, self.loop.max_gradient)
        known = targets != _IGNORED
        accuracy = (logits.argmax(dim=2) == targets)[known].float().mean()
        return {"tokens": loss.item(), "accuracy": accuracy.item()}


def _collate(rows: Sequence[tuple[States, Array]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return states [B, T, 2D], targets [B, T] and mask [B, T, 1] of padded rows."""
    longest = max(len(row.states) for row, _ in rows)
    states = torch.zeros(len(rows), longest, rows[0][0].states.shape[1])
    targets = torch.full((len(rows), longest), _IGNORED)
    mask = torch.zeros(len(rows), longest, 1)
    for index, (row, tokens) in enumerate(rows):
        states[index, : len(row.states)] = torch.from_numpy(row.states)
        mask[index, : len(row.states)] = 1.0
        length = min(len(tokens), len(row.states))
        targets[index, :length] = torch.from_numpy(tokens[:length])
    return states, targets, mask


def spoken_pairs(
    states: Sequence[States], recorded: Sequence[Item]
) -> tuple[list[tuple[States, Array]], list[States]]:
    """Return states with the tokens of their recordings, and the states that have none.

    Raises:
        CheckpointError: If nothing was recorded.
    """
    # A recording's id is the name of its file, which is the teacher's id, and a digest.
    tokens = {item.entry.id.rsplit("-", 1)[0]: item.tokens for item in recorded}
    pairs = [(row, tokens[row.entry.id]) for row in states if row.entry.id in tokens]
    if not pairs:
        raise CheckpointError("none of the teacher's utterances is among the recordings")
    return pairs, [row for row in states if row.entry.id not in tokens]


@torch.no_grad()
def write_distilled(
    folder: Path, teacher: TokenTeacher, states: Sequence[States], frontend: Phonemizer
) -> FeatureStore:
    """Write a store of what was not spoken: phonemes, and tokens beside them."""
    store = FeatureStore(folder)
    teacher.eval()
    tokens: dict[str, Array] = {}
    for row in states:
        try:
            phonemes = frontend.phonemize(row.entry.text, Language(row.entry.language))
        except TextError as error:
            logger.warning("%s is left out: %s", row.entry.id, error)
            continue
        logits = teacher(torch.from_numpy(row.states)[None], torch.ones(1, len(row.states), 1))
        tokens[row.entry.id] = logits[0].argmax(dim=1).numpy()
        if row.entry.id not in store:
            words = np.array([word.num_phonemes for word in phonemes.words], np.int64)
            store.add(row.entry, _text_only(phonemes.ids, words))
    save_file(tokens, folder / _TOKENS)
    return store


def load_distilled(folder: Path) -> Corpus:
    """Read what `write_distilled` wrote."""
    store = FeatureStore(folder)
    return Corpus.load(store, list(store), load_file(folder / _TOKENS))


def _text_only(phoneme_ids: Array, word_lens: Array) -> Features:
    none = np.zeros(0, np.float32)
    return Features(
        wave=np.zeros(0, np.int16),
        ssl=np.zeros((0, 0), np.float16),
        hz=none,
        voiced=np.zeros(0, bool),
        speaker=none,
        phoneme_ids=phoneme_ids,
        word_lens=word_lens,
    )
