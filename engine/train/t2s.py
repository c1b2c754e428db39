"""Stage 3: the T2S network learns the semantic tokens of (prompt and target) phonemes.

Some rows are an utterance behind another of the same speaker, as at synthesis, some are runs of
words cut out of several (a small corpus is learnt by heart otherwise), the rest one utterance
alone. Some input tokens are replaced at random, so that one wrong token drawn at synthesis does
not lead to the next.

Where the corpus has an alignment, one head of some layers is asked to look at the phoneme that is
being spoken: attention that would otherwise take days to find its way takes minutes.
Source: guided attention is Tachibana et al. 2017; here the guide is the true alignment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model_config import T2SConfig
from engine.models.t2s import IGNORED, T2S, T2SLayer, training_targets
from engine.train.batches import Corpus, Item, generator, pad_ids
from engine.train.loop import LoopSettings, clip_and_step
from engine.types import Array, IntArray

_POOL = 4  # rows drawn for each that is used


@dataclass(frozen=True, slots=True)
class T2SSettings:
    """Weights and sizes of the stage."""

    batch_size: int = 16
    prompt_share: float = 0.3
    splice_share: float = 0.0  # rows of runs of words; needs the corpus's alignment
    splice_words: int = 8  # of a run, at most
    splice_runs: int = 4  # of a row, at most
    foreign_share: float = 0.0  # of a row's further runs: anybody's, in any language
    even_languages: bool = False  # each as often as the others, however many texts it has
    max_tokens: int = 300  # prompt and target together
    replaced: float = 0.12  # share of input tokens drawn at random
    dropout: float = 0.0  # drawing the masks costs a fifth of a step on a CPU
    guide_weight: float = 0.3
    guide_layers: tuple[int, ...] = (2, 3)
    guide_width: float = 0.7  # of the guide, in phonemes
    label_smoothing: float = 0.0
    muon: bool = False  # for the layers' matrices: a sixth dearer a step, and fewer steps
    autocast: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class T2SBatch:
    """Rows of phonemes and tokens, padded.

    Shapes: phonemes int64 [B, P]; tokens int64 [B, T]; place int64 [B, T + 1], the phoneme spoken
    where each token is predicted, -1 unknown.
    """

    phonemes: Tensor
    phoneme_lens: Tensor
    tokens: Tensor
    token_lens: Tensor
    place: Tensor


@dataclass(slots=True)
class _Seen:
    """Input of the guided layers in the running forward pass."""

    inputs: dict[int, Tensor] = field(default_factory=dict)


class T2SStage:
    """See the module docstring; a `Stage` of the loop.

    Args:
        places: Utterance id -> phoneme spoken at each token, int64 [T]; may lack utterances.
        weights: To start from.
    """

    averaged: tuple[str, ...] = ("t2s",)

    def __init__(
        self,
        config: T2SConfig,
        settings: T2SSettings,
        loop: LoopSettings,
        corpus: Corpus,
        places: Mapping[str, IntArray],
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config = config
        self.settings = settings
        self.loop = loop
        self.corpus = corpus
        self.places = places
        languages = sorted({item.entry.language for item in corpus.items})
        self.by_language = [
            [item for item in corpus.items if item.entry.language == language]
            for language in languages
        ]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loop.seed)
            self.network = T2S(config, dropout=settings.dropout)
        if weights is not None:
            self.network.load_state_dict(weights)
        self.network.bert_projection.requires_grad_(False)  # sees zeros only
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.networks: Mapping[str, nn.Module] = {"t2s": self.network}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = self._optimizers()
        self._seen = _Seen()
        for index in settings.guide_layers:
            self.network.layers[index].register_forward_pre_hook(self._watch(index))

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        layers = self.network.layers.parameters() if self.settings.muon else ()
        matrices = [p for p in layers if p.ndim == 2]
        known = {id(p) for p in matrices}
        rest = [p for p in self.parameters if id(p) not in known]
        made: dict[str, torch.optim.Optimizer] = {
            "t2s": torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.05)
        }
        if matrices:
            # The scale at which AdamW's learning rates fit.
            made["layers"] = torch.optim.Muon(
                matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
            )
        return made

    def _watch(self, index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def remember(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            self._seen.inputs[index] = arguments[0]

        return remember

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        self.network.train()
        batch = self.batch(generator(self.loop.seed, step))
        terms, accuracy = self.losses(batch)
        total = terms["tokens"] + self.settings.guide_weight * terms["guide"]
        total.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizers.values(), self.parameters, self.loop.max_gradient)
        return {k: v.item() for k, v in terms.items()} | {"accuracy": accuracy, "gradient": norm}

    def losses(self, batch: T2SBatch) -> tuple[dict[str, Tensor], float]:
        """Return the terms, and the share of tokens that were the most probable."""
        tokens = batch.tokens
        if self.network.training:
            draw = torch.randint(self.config.eos, tokens.shape)
            tokens = torch.where(torch.rand(tokens.shape) < self.settings.replaced, draw, tokens)
        bert = torch.zeros(1, self.config.bert_dim, 1).expand(
            len(tokens), -1, batch.phonemes.shape[1]
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            logits = self.network.forward_train(
                batch.phonemes, batch.phoneme_lens, bert, tokens, batch.token_lens
            )
        targets = training_targets(batch.tokens, batch.token_lens, self.config.eos)
        loss = functional.cross_entropy(
            logits.float().transpose(1, 2),
            targets,
            ignore_index=IGNORED,
            label_smoothing=self.settings.label_smoothing,
        )
        known = targets != IGNORED
        accuracy = (logits.argmax(dim=2) == targets)[known].float().mean().item()
        return {"tokens": loss, "guide": self._guide(batch)}, accuracy

    def _guide(self, batch: T2SBatch) -> Tensor:
        """How far one head of each guided layer is from the phoneme being spoken."""
        known = batch.place >= 0
        if not self.settings.guide_layers or not bool(known.any()):
            return torch.zeros(())
        num_phonemes = batch.phonemes.shape[1]
        column = torch.arange(num_phonemes)
        distance = column[None, None] - batch.place[:, :, None]
        wanted = torch.exp(-0.5 * (distance / self.settings.guide_width) ** 2)
        padding = column[None] >= batch.phoneme_lens[:, None]
        wanted = wanted.masked_fill(padding[:, None], 0.0)
        wanted = wanted / wanted.sum(dim=2, keepdim=True).clamp(min=1e-6)
        total = torch.zeros(())
        for index in self.settings.guide_layers:
            layer = self.network.layers[index]
            assert isinstance(layer, T2SLayer)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
                query, key, _ = layer.project(self._seen.inputs[index])
            # Row i of the tokens predicts token i + 1; the last text row predicts the first.
            rows = query[:, 0, num_phonemes - 1 :].float()
            scores = rows @ key[:, 0, :num_phonemes].float().transpose(1, 2) * layer.scale
            scores = scores.masked_fill(padding[:, None], -1e4)
            error = -(wanted * scores.log_softmax(dim=2)).sum(dim=2)
            total = total + error[known].mean()
        return total / len(self.settings.guide_layers)

    def batch(self, rng: np.random.Generator) -> T2SBatch:
        """Draw a batch of rows of about the same length, so that little of it is padding."""
        size = self.settings.batch_size
        drawn = sorted((self._row(rng) for _ in range(_POOL * size)), key=_length)
        start = int(rng.integers(len(drawn) - size + 1))
        return collate(drawn[start : start + size])

    def _row(self, rng: np.random.Generator) -> Row:
        item = self.draw(rng)
        choice = rng.random()
        if choice > 1 - self.settings.splice_share:
            return self.splice(item, rng)
        if choice < self.settings.prompt_share:
            prompt = self.corpus.companion(item, rng)
            if len(prompt.tokens) + len(item.tokens) <= self.settings.max_tokens:
                return self.join(prompt, item)
        return self.alone(item)

    def draw(self, rng: np.random.Generator) -> Item:
        """Return any utterance."""
        items = self.corpus.items
        if self.settings.even_languages:
            items = self.by_language[int(rng.integers(len(self.by_language)))]
        return items[int(rng.integers(len(items)))]

    def alone(self, item: Item) -> Row:
        """Return one utterance as a row."""
        unknown = np.full(len(item.tokens), -1, np.int64)
        place = self.places.get(item.entry.id, unknown)
        return Row(item.features.phoneme_ids, item.tokens, place)

    def splice(self, item: Item, rng: np.random.Generator) -> Row:
        """Return runs of words of utterances, `item` among them, as one row."""
        runs: list[Row] = []
        for index in range(int(rng.integers(1, self.settings.splice_runs + 1))):
            source = item if index == 0 else self._next(item, rng)
            run = self._run(source, rng)
            if run is not None and sum(map(_length, [*runs, run])) <= 2 * self.settings.max_tokens:
                runs.append(run)
        return _concatenate(runs) if runs else self.alone(item)

    def _next(self, item: Item, rng: np.random.Generator) -> Item:
        if self.settings.foreign_share > 0 and rng.random() < self.settings.foreign_share:
            return self.draw(rng)
        return self.corpus.companion(item, rng)

    def _run(self, item: Item, rng: np.random.Generator) -> Row | None:
        """Cut some words and their tokens out of an utterance; None where nothing is aligned."""
        whole = self.alone(item)
        bounds = np.concatenate([[0], np.cumsum(item.features.word_lens)])
        if len(bounds) < 3 or bounds[-1] != len(whole.phonemes) or (whole.place < 0).any():
            return None
        count = int(rng.integers(1, min(self.settings.splice_words, len(bounds) - 1) + 1))
        first = int(rng.integers(len(bounds) - count))
        start, stop = bounds[first], bounds[first + count]
        inside = (whole.place >= start) & (whole.place < stop)
        if not inside.any():
            return None
        return Row(whole.phonemes[start:stop], whole.tokens[inside], whole.place[inside] - start)

    def join(self, prompt: Item, item: Item) -> Row:
        """Return two utterances as one row, as at synthesis."""
        return _concatenate([self.alone(prompt), self.alone(item)])


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One training sequence: phonemes int64 [P], tokens int64 [T], place int64 [T]."""

    phonemes: Array
    tokens: Array
    place: Array


def _concatenate(rows: Sequence[Row]) -> Row:
    starts = np.cumsum([0, *(len(row.phonemes) for row in rows[:-1])])
    return Row(
        np.concatenate([row.phonemes for row in rows]),
        np.concatenate([row.tokens for row in rows]),
        np.concatenate(
            [np.where(r.place >= 0, r.place + n, -1) for r, n in zip(rows, starts, strict=True)]
        ),
    )


def _length(row: Row) -> int:
    return len(row.phonemes) + len(row.tokens)


def collate(rows: list[Row]) -> T2SBatch:
    """Pad rows to a batch."""
    token_lens = torch.tensor([len(row.tokens) for row in rows])
    place = torch.full((len(rows), int(token_lens.max()) + 1), -1, dtype=torch.int64)
    for target, row in zip(place, rows, strict=True):
        target[: len(row.place)] = torch.from_numpy(np.asarray(row.place, np.int64))
    place[:, 0] = -1  # predicted by the last text row, which padding moves
    return T2SBatch(
        phonemes=pad_ids([row.phonemes for row in rows]),
        phoneme_lens=torch.tensor([len(row.phonemes) for row in rows]),
        tokens=pad_ids([row.tokens for row in rows]),
        token_lens=token_lens,
        place=place,
    )
