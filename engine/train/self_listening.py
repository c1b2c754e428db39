"""Stage 3 again: T2S listens to what it says.

Teacher forcing asks for the teacher's next token, and all wrong ones cost the same. Left to itself
T2S then draws tokens in which a consonant is missing now and then, and no later stage can put it
back. Here T2S also speaks freely, as in serving; a probe of phonemes (`engine.train.token_probe`)
says how well each phoneme of the text is heard, and the gradient goes through the probe to the
probability of each token that was drawn.

    phonemes -> T2S, drawing -> tokens -> probe -> scores of phonemes at each token
                                                   best alignment of the text to those
    tokens -> T2S -> probabilities -> probe -> phoneme that stands at each token (target)

Every phoneme weighs the same, however many tokens it has. Source: rewards through a differentiable
recogniser of tokens are Gao et al. 2025 (CosyVoice 3); the alignment is ours.

Shapes: B rows, P phonemes, T tokens, V vocabulary without the end, K phoneme ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import InvalidParameter
from engine.model_config import T2SConfig
from engine.models.t2s import T2S, prefix_mask
from engine.train.batches import Corpus, Item, generator, pad_ids
from engine.train.loop import LoopSettings, clip_and_step
from engine.train.own_tokens import draw_tokens
from engine.train.t2s import T2SSettings, T2SStage
from engine.train.token_probe import TokenProbe, token_mask
from engine.types import FloatArray, IntArray, Sampling

_POOL_STREAM = 9  # beside the batch's own stream of the same step
_DRAWN = 4  # texts looked at for each that is spoken, so that lengths are alike
_LONGEST = 1.4  # of the teacher's tokens of a text; what has not ended by then is left out
_SPARE = 8  # tokens more than that
_NEVER = -1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfListeningSettings(T2SSettings):
    """Weights and sizes of the stage; those of `T2SSettings` are of the teacher's tokens.

    Attributes:
        own_weight: Of what the probe hears, against the teacher's tokens.
        own_rows: Texts listened to in a step.
        spoken_at_once: Texts spoken in one go; they are listened to in the steps that follow.
        skip: Log probability of a phoneme that has no token at all.
        kept_share: Of the weights from before, in the mean that is used: what T2S learns of whole
            sentences it loses in short clauses, and the mean has both.
    """

    own_weight: float = 1.0
    own_rows: int = 12
    spoken_at_once: int = 48
    skip: float = -6.0
    kept_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.kept_share < 1:
            raise InvalidParameter("kept_share", self.kept_share, "0 to below 1")


class Spoken(NamedTuple):
    """Tokens int64 [B, T], the lead-in among them; how many each row has; whether it ended."""

    tokens: Tensor
    lens: Tensor
    ended: Tensor


class SelfListeningStage(T2SStage):
    """See the module docstring; a `Stage` of the loop.

    Args:
        probe: Trained on the same tokens.
        sampling: As in serving; `top_k` and `temperature` are used.
        lead_in: Tokens that serving starts with.
    """

    def __init__(
        self,
        config: T2SConfig,
        settings: SelfListeningSettings,
        loop: LoopSettings,
        corpus: Corpus,
        places: Mapping[str, IntArray],
        weights: Mapping[str, Tensor],
        probe: TokenProbe,
        sampling: Sampling,
        lead_in: tuple[int, ...],
    ) -> None:
        super().__init__(config, settings, loop, corpus, places, weights)
        self.own = settings
        self.probe = probe.requires_grad_(False).eval()
        self.sampling, self.lead_in = sampling, lead_in
        self.pool: list[tuple[Item, Tensor]] = []

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`, and on what was said."""
        self.network.train()
        terms, accuracy = self.losses(self.batch(generator(self.loop.seed, step)))
        total = terms["tokens"] + self.settings.guide_weight * terms["guide"]
        total.backward()  # type: ignore[no-untyped-call]
        if len(self.pool) < self.own.own_rows:
            self.pool = self._speak(step)
        rows, self.pool = self.pool[: self.own.own_rows], self.pool[self.own.own_rows :]
        figures = {name: value.item() for name, value in terms.items()} | {"accuracy": accuracy}
        if rows:
            error, right = self.listen(rows)
            (self.own.own_weight * error).backward()  # type: ignore[no-untyped-call]
            figures |= {"own": error.item(), "own_right": right}
        norm = clip_and_step(self.optimizers.values(), self.parameters, self.loop.max_gradient)
        return figures | {"gradient": norm}

    def _speak(self, step: int) -> list[tuple[Item, Tensor]]:
        """Return texts and what T2S says for them; one that does not come to its end is left out.

        A run that is resumed speaks anew at its first step.
        """
        rng, size = generator(self.loop.seed + _POOL_STREAM, step), self.own.spoken_at_once
        drawn = sorted((self.draw(rng) for _ in range(_DRAWN * size)), key=lambda i: len(i.tokens))
        start = int(rng.integers(len(drawn) - size + 1))
        items = drawn[start : start + size]
        longest = int(max(len(item.tokens) for item in items) * _LONGEST) + _SPARE
        limit = min(longest, self.config.max_tokens) - len(self.lead_in)
        self.network.eval()
        spoken = speak_freely(
            self.network,
            [item.features.phoneme_ids for item in items],
            self.lead_in,
            self.sampling,
            limit,
            rng,
        )
        self.network.train()
        return [
            (items[row], spoken.tokens[row, : int(spoken.lens[row])])
            for row in rng.permutation(size)
            if spoken.ended[row] and spoken.lens[row] > len(self.lead_in)
        ]

    def listen(self, rows: list[tuple[Item, Tensor]]) -> tuple[Tensor, float]:
        """Return the mean error of each text's phonemes, and the share that is heard right."""
        phonemes = pad_ids([item.features.phoneme_ids for item, _ in rows])
        phoneme_lens = torch.tensor([len(item.features.phoneme_ids) for item, _ in rows])
        token_lens = torch.tensor([len(tokens) for _, tokens in rows])
        tokens = torch.nn.utils.rnn.pad_sequence([said for _, said in rows], batch_first=True)
        bert = torch.zeros(len(rows), self.config.bert_dim, phonemes.shape[1])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            logits = self.network.forward_train(phonemes, phoneme_lens, bert, tokens, token_lens)
        logits = logits[:, : tokens.shape[1], : self.config.eos].float()
        shares = torch.softmax(logits / self.sampling.temperature, dim=2)
        # The tokens as drawn, and the gradient of their probabilities.
        drawn = functional.one_hot(tokens, shares.shape[2]) - shares.detach() + shares
        mask = token_mask(token_lens, tokens.shape[1])
        heard = self.probe(self.probe.embed(drawn), mask[:, None]).log_softmax(dim=1)
        wanted = phonemes[:, :, None].expand(-1, -1, heard.shape[2])
        scores = heard.gather(1, wanted)  # [B, P, T]
        place = torch.from_numpy(
            align(
                scores.detach().transpose(1, 2).numpy(),
                phoneme_lens.numpy(),
                token_lens.numpy(),
                self.own.skip,
            )
        )
        weight = mask.clone()
        weight[:, : len(self.lead_in)] = 0.0
        count = torch.zeros(phonemes.shape).scatter_add(1, place, weight)
        weight = weight / count.gather(1, place).clamp(min=1.0)
        error = -(scores.gather(1, place[:, None])[:, 0] * weight).sum() / weight.sum()
        right = (heard.argmax(dim=1) == phonemes.gather(1, place)).float()
        return error, float((right * weight).sum() / weight.sum())


@torch.no_grad()
def speak_freely(
    network: T2S,
    texts: list[IntArray],
    lead_in: tuple[int, ...],
    sampling: Sampling,
    limit: int,
    rng: np.random.Generator,
) -> Spoken:
    """Draw tokens of several texts at once, as serving does for one.

    Args:
        network: In eval mode; a T2S that takes no prompt.
        texts: Phonemes int64 [P] of each row.
        limit: Tokens of a row at most, the lead-in not counted.
    """
    config, rows, lead = network.config, len(texts), len(lead_in)
    phonemes, width = pad_ids(texts), max(map(len, texts))
    x = network.embed(
        phonemes, torch.zeros(rows, config.bert_dim, width), torch.tensor([lead_in] * rows).long()
    )
    start = width + lead
    hidden = torch.full((rows, start + limit), -torch.inf)
    for row, text in zip(hidden, texts, strict=True):
        row[: len(text)] = 0.0
        row[width:start] = 0.0
    mask = prefix_mask(width, start, x) + hidden[:, None, None, :start]
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for layer in network.layers:
        x, key, value = layer(x, mask)
        for cache, part in ((keys, key), (values, value)):
            cache.append(functional.pad(part, (0, 0, 0, limit)))
    if lead:
        x = x[:, -1]
    else:
        x = x[torch.arange(rows), torch.tensor([len(text) - 1 for text in texts])]
    logits = network.head(x)
    tokens = torch.zeros(rows, lead + limit, dtype=torch.int64)
    tokens[:, :lead] = torch.tensor(lead_in, dtype=torch.int64)
    lens = torch.full((rows,), lead)
    ended = torch.zeros(rows, dtype=torch.bool)
    for index in range(limit):
        drawn = torch.from_numpy(draw_tokens(logits, sampling, rng))
        ended |= drawn == config.eos
        if bool(ended.all()):
            break
        drawn = drawn.where(~ended, 0)
        tokens[:, lead + index] = drawn
        lens += ~ended
        here = start + index
        logits, new = network.step(
            drawn,
            torch.full((rows,), lead + index),
            hidden[:, :here],
            [key[:, :, :here] for key in keys],
            [value[:, :, :here] for value in values],
        )
        for held, added in zip((*keys, *values), (*new.keys, *new.values), strict=True):
            held[:, :, here : here + 1] = added
        hidden[:, here] = 0.0
    return Spoken(tokens, lens, ended)


def align(
    scores: FloatArray, phoneme_lens: IntArray, token_lens: IntArray, skip: float
) -> IntArray:
    """Return the best place of each token in the text, int64 [B, T]; it never goes back.

    Args:
        scores: Log probabilities [B, T, P] of each place at each token.
        skip: Log probability of going over a phoneme, at most one at a time.
    """
    rows, length, width = scores.shape
    best = np.full((rows, width), _NEVER)
    best[:, 0] = scores[:, 0, 0]
    best[:, 1:2] = scores[:, 0, 1:2] + skip
    ways = np.zeros((rows, length, width), np.int8)
    padded = np.full((rows, width + 2), _NEVER)
    for token in range(1, length):
        padded[:, 2:] = best
        choices = np.stack((best, padded[:, 1:-1], padded[:, :-2] + skip))
        ways[:, token] = choices.argmax(axis=0)
        best = choices.max(axis=0) + scores[:, token]
    place = np.zeros((rows, length), np.int64)
    for row in range(rows):
        at = int(phoneme_lens[row]) - 1
        for token in range(int(token_lens[row]) - 1, -1, -1):
            place[row, token] = at
            at = max(at - int(ways[row, token, at]), 0)
    return place
