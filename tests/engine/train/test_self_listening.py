"""T2S speaks freely, a probe says which phonemes it hears, and T2S learns from that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import CheckpointError, InvalidParameter
from engine.models.t2s import T2S, T2SLayer
from engine.pack import Part
from engine.train import stages
from engine.train.batches import Corpus
from engine.train.loop import LoopSettings, load_average
from engine.train.self_listening import (
    SelfListeningSettings,
    SelfListeningStage,
    align,
    speak_freely,
)
from engine.train.settings import CONFIGS, load_recipe
from engine.train.store import FeatureStore
from engine.train.t2s import T2SSettings, T2SStage
from engine.train.token_probe import TokenProbe, TokenProbeSettings, TokenProbeStage
from engine.types import IntArray, Sampling
from tests.engine.train.conftest import T2S_CONFIG
from tests.engine.train.test_joint import _pack

LOOP = LoopSettings(steps=40, learning_rate=3e-3, final_rate=3e-3, warmup_steps=1)
SMALL = SelfListeningSettings(
    batch_size=2, prompt_share=0.0, guide_layers=(), own_rows=3, spoken_at_once=4, autocast=False
)
NUM_TOKENS = T2S_CONFIG.eos
GREEDY = Sampling(top_k=1, top_p=1.0, temperature=1.0, repetition_penalty=1.0)
LEAD_IN = (3, 1)


def _places(corpus: Corpus) -> dict[str, IntArray]:
    return {item.entry.id: item.place for item in corpus.items if item.place is not None}


def _t2s() -> T2S:
    torch.manual_seed(3)
    return T2S(T2S_CONFIG).eval()


@pytest.mark.parametrize("lead_in", [LEAD_IN, ()])
def test_texts_spoken_together_are_spoken_as_alone(lead_in: tuple[int, ...]) -> None:
    """Neither a longer text nor a row that has ended changes another's tokens."""
    network = _t2s()
    texts = [np.arange(10, 10 + count) for count in (3, 9, 5)]
    together = speak_freely(network, texts, lead_in, GREEDY, 12, np.random.default_rng(0))
    for row, text in enumerate(texts):
        said = list(lead_in)
        for _ in range(int(together.lens[row]) - len(lead_in)):
            logits, _ = network.prefill(
                torch.from_numpy(text)[None], torch.zeros(1, 1, len(text)), torch.tensor([said])
                .long().reshape(1, -1),
            )  # fmt: skip
            said.append(int(logits.argmax()))
        assert together.tokens[row, : len(said)].tolist() == said
        assert NUM_TOKENS not in said
        assert bool(together.ended[row]) or together.lens[row] == 12 + len(lead_in)


def test_a_text_ends_where_t2s_says_so() -> None:
    """The end is no token, and what stands behind it does not count."""
    network = _t2s()
    with torch.no_grad():
        network.head.weight[NUM_TOKENS] = 50 * network.head.weight.abs().mean()
        last = network.layers[-1]
        assert isinstance(last, T2SLayer)
        last.ffn_norm.bias.fill_(1.0)
    spoken = speak_freely(
        network, [np.array([10, 11])], LEAD_IN, GREEDY, 12, np.random.default_rng(0)
    )
    assert spoken.ended.tolist() == [True] and spoken.lens.tolist() == [len(LEAD_IN)]


def _scores(heard: list[list[int]], width: int) -> np.ndarray:
    scores = np.full((len(heard), max(map(len, heard)), width), -4.0, np.float32)
    for row, places in enumerate(heard):
        scores[row, range(len(places)), places] = -0.1
    return scores


def test_tokens_are_aligned_with_the_text() -> None:
    """What is heard clearly is followed, in rows of different lengths."""
    heard = [[0, 0, 1, 2, 2, 3], [0, 1, 1, 2]]
    place = align(_scores(heard, 4), np.array([4, 3]), np.array([6, 4]), -6.0)
    assert place[0].tolist() == heard[0] and place[1, :4].tolist() == heard[1]


def test_a_phoneme_that_is_not_heard_gets_a_token_unless_skipping_is_cheap() -> None:
    """That token is the one that learns to be it."""
    scores = _scores([[0, 0, 2, 2]], 3)
    strict = align(scores, np.array([3]), np.array([4]), -6.0)[0].tolist()
    assert strict in ([0, 1, 2, 2], [0, 0, 1, 2])
    assert align(scores, np.array([3]), np.array([4]), -0.5)[0].tolist() == [0, 0, 2, 2]
    short = align(scores[:, :2], np.array([3]), np.array([2]), -6.0)[0]
    assert short[-1] == 2  # two tokens, three phonemes: one is gone over, the last is reached


def _probe(corpus: Corpus, steps: int = 60) -> TokenProbe:
    settings = TokenProbeSettings(batch_size=4, hidden=16, dropout=0.0, replaced=0.0)
    stage = TokenProbeStage(
        NUM_TOKENS, T2S_CONFIG.num_phonemes, settings, LOOP, [(corpus, _places(corpus))]
    )
    for group in stage.optimizers["token_probe"].param_groups:
        group["lr"] = 1e-2
    figures = [stage.step(step) for step in range(steps)]
    assert figures[0]["right"] < 0.5 and figures[-1]["right"] > 0.95
    return stage.probe


def test_the_probe_needs_an_alignment(corpus: Corpus) -> None:
    """There would be nothing to learn from."""
    with pytest.raises(CheckpointError, match="alignment"):
        TokenProbeStage(NUM_TOKENS, 732, TokenProbeSettings(), LOOP, [(corpus, {})])


def _stage(corpus: Corpus, settings: SelfListeningSettings = SMALL) -> SelfListeningStage:
    return SelfListeningStage(
        T2S_CONFIG,
        settings,
        LOOP,
        corpus,
        _places(corpus),
        _t2s().state_dict(),
        _probe(corpus),
        Sampling(top_k=4, top_p=1.0, temperature=1.0, repetition_penalty=1.0),
        (),
    )


def test_what_is_heard_makes_the_right_token_more_probable(corpus: Corpus) -> None:
    """Of two tokens drawn for a phoneme, the one the probe takes for it gains.

    In the conftest's corpus a token says one phoneme; the first token of the text is drawn wrong.
    """
    stage, item = _stage(corpus), corpus.items[0]
    right = torch.from_numpy(np.asarray(item.tokens))
    wrong = right.clone()
    wrong[0] = (right[0] + 1) % 4
    ids = torch.from_numpy(item.features.phoneme_ids)[None]

    def share() -> tuple[float, float]:
        stage.network.eval()
        with torch.no_grad():
            logits, _ = stage.network.prefill(ids, torch.zeros(1, 1, ids.shape[1]), right[:0][None])
        shares = logits[0].softmax(0)
        return float(shares[right[0]]), float(shares[wrong[0]])

    before = share()
    heard_wrong, heard_right = stage.listen([(item, wrong)]), stage.listen([(item, right)])
    assert heard_wrong[0] > heard_right[0] and heard_wrong[1] < heard_right[1] == 1.0
    for _ in range(5):
        stage.network.zero_grad()
        stage.listen([(item, wrong)])[0].backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in stage.parameters:
                if parameter.grad is not None:
                    parameter.sub_(0.01 * parameter.grad)
    after = share()
    assert after[0] / after[1] > 1.2 * before[0] / before[1]


def test_every_phoneme_weighs_the_same(corpus: Corpus) -> None:
    """A phoneme of many tokens that is heard wrong counts as one."""
    stage, item = _stage(corpus), corpus.items[0]
    tokens = torch.from_numpy(np.asarray(item.tokens))
    longer = torch.cat((tokens[:1].repeat(12), tokens[1:]))
    error, right = stage.listen([(item, longer)])
    assert right == 1.0
    assert float(error.detach()) == pytest.approx(
        float(stage.listen([(item, tokens)])[0].detach()), abs=0.1
    )


def test_a_step_learns_from_the_teacher_and_from_what_was_said(corpus: Corpus) -> None:
    """The same seed gives the same steps, and texts are spoken again when the pool is empty."""
    settings = replace(SMALL, even_languages=True, foreign_share=1.0, splice_share=0.5)
    first, second = _stage(corpus, settings), _stage(corpus, settings)
    for step in range(3):
        torch.manual_seed(step)
        figures = first.step(step)
        torch.manual_seed(step)
        assert second.step(step) == figures
        assert {"tokens", "accuracy", "gradient"} <= set(figures)
    assert not any(parameter.requires_grad for parameter in first.probe.parameters())


def test_languages_are_drawn_evenly(corpus: Corpus) -> None:
    """One text of a language is drawn as often as seven of another."""
    items = [
        replace(item, entry=replace(item.entry, language="zh" if index == 0 else "en"))
        for index, item in enumerate(corpus.items)
    ]
    rng = np.random.default_rng(0)
    for even, low, high in ((True, 70, 130), (False, 10, 45)):
        settings = T2SSettings(even_languages=even, guide_layers=())
        stage = T2SStage(T2S_CONFIG, settings, LOOP, Corpus(items), {})
        drawn = [stage.draw(rng).entry.language for _ in range(200)]
        assert low <= drawn.count("zh") <= high


def test_a_pack_learns_from_what_its_t2s_says(store: FeatureStore, tmp_path: Path) -> None:
    """Features in, weights of T2S out, each stage in a run folder."""
    once = LoopSettings(steps=2, learning_rate=1e-3, final_rate=1e-3, warmup_steps=1)
    probe = TokenProbeSettings(batch_size=2, hidden=8)
    recipe = replace(
        load_recipe(CONFIGS / "nano.toml"),
        token_probe=probe, token_probe_loop=once, listen_loop=once,
        listen=replace(SMALL, kept_share=0.25),
    )  # fmt: skip
    base = _pack(tmp_path / "pack", prompts=False)
    weights = stages.train_listen(tmp_path, base, recipe)
    assert all((tmp_path / name / "run.json").exists() for name in ("token_probe", "listen"))
    before, after = base.tensors(Part.T2S), load_average(tmp_path / "listen", "t2s")
    assert set(before) == set(weights)
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    for name, value in weights.items():  # between the two, as far as `kept_share` says
        middle = 0.75 * np.asarray(after[name]) + 0.25 * before[name]
        np.testing.assert_allclose(value, middle, rtol=1e-5, atol=1e-6)


def test_weights_from_before_alone_are_refused() -> None:
    """Nothing would have been learnt."""
    with pytest.raises(InvalidParameter, match="kept_share"):
        SelfListeningSettings(kept_share=1.0)


def test_a_t2s_that_continues_prompts_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    """Left to itself it has nothing to continue."""
    base = _pack(tmp_path / "pack", prompts=True)
    with pytest.raises(CheckpointError, match="continues prompts"):
        stages.train_listen(tmp_path, base, load_recipe(CONFIGS / "nano.toml"))
