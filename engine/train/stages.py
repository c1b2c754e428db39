"""The stages as runs: from a work folder's features to weights, each resumable by itself.

A work folder holds `features/`, one folder per stage (`tokens`, `acoustic-1`.., `distil`, `t2s`,
`token_probe`, `listen`, `joint`, `probe`, `joint-1`..), each with its checkpoint, metrics, curve
and `run.json` that says how it was made, and `distilled/` where a teacher's texts were given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.backends.torch_weights import to_tensors
from engine.enroll import Phonemizer
from engine.errors import CheckpointError
from engine.model_config import AcousticConfig, T2SConfig
from engine.models.quantizer import Quantizer
from engine.models.t2s import T2S
from engine.models.whisper import WhisperEncoder
from engine.pack import Pack, Part
from engine.train import phoneme_times, ssl_tokens
from engine.train.acoustic import AcousticSettings, AcousticStage
from engine.train.alignment import segments
from engine.train.batches import Corpus
from engine.train.curves import draw_curves
from engine.train.distil import (
    DistilSettings,
    DistilStage,
    load_distilled,
    read_states,
    spoken_pairs,
    write_distilled,
)
from engine.train.joint import JointStage, retold
from engine.train.listener import Listener
from engine.train.loop import LoopSettings, Run, Stage, load_average, under
from engine.train.own_tokens import own_tokens
from engine.train.phoneme_probe import PhonemeProbe, ProbeStage
from engine.train.self_listening import SelfListeningStage
from engine.train.settings import Recipe
from engine.train.ssl_tokens import TokenSettings, TokenStage
from engine.train.store import Entry, FeatureStore, split
from engine.train.t2s import T2SSettings, T2SStage
from engine.train.token_probe import TokenProbeStage
from engine.types import IntArray

HELD_OUT = 24  # utterances of each stage that are kept for checks


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A work folder's corpus with tokens and, where the teacher aligned it, phoneme places.

    `check` is what is not trained on; None where there is too little to keep any back.
    """

    train: Corpus
    places: Mapping[str, IntArray]
    check: Corpus | None = None


def load_data(folder: Path, quantizer: Quantizer | None, *, held_out: int = HELD_OUT) -> Data:
    """Read the features of a work folder; with a quantizer also tokens and places."""
    store = FeatureStore(folder / "features")
    if not len(store):
        raise CheckpointError(f"{folder} has no features; run `sovits-live train prepare` first")
    entries, kept = split(list(store), held_out)
    if quantizer is None:
        return Data(Corpus.load(store, entries, {}), {})
    tokens = {entry.id: _tokens(quantizer, store, entry.id) for entry in (*entries, *kept)}
    places = _places(store, entries, tokens)
    check = Corpus.load(store, kept, tokens) if kept else None
    return Data(Corpus.load(store, entries, tokens, places), places, check)


def few_held_out(count: int) -> int:
    """Return how many of a voice's few utterances are kept for checks: a tenth, 0 of under 5."""
    return max(1, round(count / 10)) if count >= 5 else 0


@torch.no_grad()
def _tokens(quantizer: Quantizer, store: FeatureStore, utterance_id: str) -> IntArray:
    ssl = torch.from_numpy(store.load(utterance_id).ssl.astype(np.float32).T[None])
    tokens: IntArray = quantizer(ssl)[0].numpy()
    return tokens


def _places(
    store: FeatureStore, entries: Sequence[Entry], tokens: Mapping[str, IntArray]
) -> dict[str, IntArray]:
    """Return the phoneme spoken at each token, for utterances with a teacher's alignment."""
    ids = [entry.id for entry in entries if entry.symbols]
    if not ids:
        return {}
    numbers: dict[str, int] = {}
    pairs = []
    for name in ids:
        named, _ = segments(store.entries[name])
        teacher = np.array([numbers.setdefault(symbol, len(numbers)) for symbol in named])
        pairs.append(phoneme_times.Pair(store.load(name).phoneme_ids, teacher))
    paths = phoneme_times.align(pairs)
    return {
        name: phoneme_times.at_times(
            path, store.entries[name].durations_s, (np.arange(len(tokens[name])) + 0.5) * 0.04
        )
        for name, path in zip(ids, paths, strict=True)
    }


def load_quantizer(config: AcousticConfig, weights: Mapping[str, Tensor]) -> Quantizer:
    """Return a quantizer with the given weights."""
    quantizer = Quantizer(config)
    quantizer.load_state_dict(weights)
    return quantizer.eval().requires_grad_(False)


def train_tokens(
    folder: Path, config: AcousticConfig, settings: TokenSettings, loop: LoopSettings
) -> None:
    """Run the token stage."""
    corpus = load_data(folder, None).train
    names, pitches = ssl_tokens.inventory(corpus), ssl_tokens.speaker_pitches(corpus)
    parts = []
    for item in corpus.items:
        parts.append(ssl_tokens.token_data(item, item.features.ssl, 1.0, names, pitches))
        warped, stretch = item.features.warped, item.features.stretch
        if warped is not None and stretch is not None:
            ratio = float(stretch[0])
            parts.append(ssl_tokens.token_data(item, warped, ratio, names, pitches))
    stage = TokenStage(config, settings, loop, ssl_tokens.TokenData.join(parts))
    run_stage(folder / "tokens", stage, loop, {"settings": asdict(settings)})


def train_acoustic(
    folder: Path,
    config: AcousticConfig,
    stages: Sequence[tuple[AcousticSettings, LoopSettings]],
    weights: Mapping[str, Tensor] | None = None,
    *,
    encoder: WhisperEncoder | None = None,
    max_minutes: float = math.inf,
) -> Path:
    """Run the acoustic stages one after another; returns the last one's folder.

    Args:
        weights: To start from, quantizer included; else the token stage's quantizer is taken.
        encoder: The one the features were made with; stages with a `speech_weight` need it.
    """
    if weights is None:
        trained = load_average(folder / "tokens", "quantizer")
        weights = {f"quantizer.{name}": value for name, value in trained.items()}
    quantizer = load_quantizer(config, under(weights, "quantizer."))
    corpus = load_data(folder, quantizer).train
    for index, (settings, loop) in enumerate(stages, 1):
        target = folder / f"acoustic-{index}"
        listener = _listener(settings, encoder, quantizer, config)
        stage = AcousticStage(config, settings, loop, corpus, weights, listener)
        run_stage(target, stage, loop, {"settings": asdict(settings)}, max_minutes=max_minutes)
        weights = load_average(target, "acoustic")
    return target


def _listener(
    settings: AcousticSettings,
    encoder: WhisperEncoder | None,
    quantizer: Quantizer,
    config: AcousticConfig,
    probe: PhonemeProbe | None = None,
) -> Listener | None:
    """Return who listens in a stage; where nobody should, or nobody can, None."""
    if settings.speech_weight == 0 or encoder is None:
        return None
    probe = probe if settings.phoneme_weight > 0 else None
    return Listener(encoder, quantizer, config.sample_rate_hz, probe)


def train_distil(
    folder: Path,
    states_folder: Path,
    settings: DistilSettings,
    loop: LoopSettings,
    quantizer: Quantizer,
    frontend: Phonemizer,
) -> int:
    """Learn tokens from a teacher's states; returns how many unspoken texts have got theirs."""
    recorded = load_data(folder, quantizer).train.items
    spoken, unspoken = spoken_pairs(read_states(states_folder), recorded)
    stage = DistilStage(spoken, len(quantizer.codebook), settings, loop)
    run_stage(folder / "distil", stage, loop, {"settings": asdict(settings)})
    return len(write_distilled(folder / "distilled", stage.network, unspoken, frontend))


def train_t2s(
    folder: Path,
    config: T2SConfig,
    settings: T2SSettings,
    loop: LoopSettings,
    quantizer: Quantizer,
    weights: Mapping[str, Tensor] | None = None,
    *,
    max_minutes: float = math.inf,
) -> Path:
    """Run the T2S stage, on the teacher's texts where there are any; returns its folder."""
    data = text_data(folder, quantizer)
    stage = T2SStage(config, settings, loop, data.train, data.places, weights)
    run_stage(folder / "t2s", stage, loop, {"settings": asdict(settings)}, max_minutes=max_minutes)
    return folder / "t2s"


def train_listen(folder: Path, base: Pack, recipe: Recipe) -> Mapping[str, Tensor]:
    """Let a pack's T2S listen to what it says; returns its weights.

    Raises:
        CheckpointError: The pack's T2S continues a prompt: here it has none to continue.
    """
    _check_no_prompts(base)
    config, acoustic = base.config.t2s, base.config.acoustic
    tensors = under(pack_tensors(base, Part.ACOUSTIC), "quantizer.")
    recorded = load_data(folder, load_quantizer(acoustic, tensors))
    data = text_data(folder, None) if (folder / "distilled").exists() else recorded
    corpora = [(data.train, data.places)]
    if data is not recorded:
        corpora.append((recorded.train, recorded.places))
    settings, loop = recipe.token_probe, recipe.token_probe_loop
    probe = TokenProbeStage(config.eos, config.num_phonemes, settings, loop, corpora)
    run_stage(folder / "token_probe", probe, loop, {"settings": asdict(settings)})
    before = pack_tensors(base, Part.T2S)
    stage = SelfListeningStage(
        config,
        recipe.listen,
        recipe.listen_loop,
        data.train,
        data.places,
        before,
        probe.probe,
        base.info.sampling,
        base.info.lead_in,
    )
    how = {"settings": asdict(recipe.listen), "pack": base.fingerprint}
    run_stage(folder / "listen", stage, recipe.listen_loop, how)
    after, kept = load_average(folder / "listen", "t2s"), recipe.listen.kept_share
    return {name: torch.lerp(after[name], before[name], kept) for name in after}


def _check_no_prompts(base: Pack) -> None:
    if base.info.prompts:
        raise CheckpointError(f"the T2S of {base.name!r} continues prompts; nothing to learn here")


def train_joint(
    folder: Path,
    base: Pack,
    recipe: Recipe,
    *,
    encoder: WhisperEncoder | None = None,
    on_item: Callable[[int, int], None] = lambda done, count: None,
) -> Mapping[str, Tensor]:
    """Run the joint stage, and those behind it, on a pack's networks; returns acoustic weights.

    Args:
        encoder: As in `train_acoustic`.

    Raises:
        CheckpointError: The pack's T2S continues a prompt: its tokens are those of its prompts.
    """
    _check_no_prompts(base)
    config, loop = base.config.acoustic, recipe.joint_loop
    weights: Mapping[str, Tensor] = pack_tensors(base, Part.ACOUSTIC)
    quantizer = load_quantizer(config, under(weights, "quantizer."))
    corpus = load_data(folder, quantizer).train
    t2s = T2S(base.config.t2s)
    t2s.load_state_dict(pack_tensors(base, Part.T2S))
    said = own_tokens(
        t2s.eval(),
        base.config.t2s,
        corpus.items,
        base.info.sampling,
        seed=loop.seed,
        on_item=lambda done: on_item(done, len(corpus)),
    )
    how = {"settings": asdict(recipe.joint), "pack": base.fingerprint}
    stage = JointStage(config, recipe.joint, loop, corpus, weights, said)
    run_stage(folder / "joint", stage, loop, how)
    weights = load_average(folder / "joint", "acoustic")
    probe = None
    if any(settings.phoneme_weight > 0 for settings, _ in recipe.joint_stages):
        probe = train_probe(folder, config, recipe, corpus)
    every = Corpus([*corpus.items, *(item for t in said for item in retold(corpus, t).items)])
    for index, (settings, loop) in enumerate(recipe.joint_stages, 1):
        listener = _listener(settings, encoder, quantizer, config, probe)
        again = AcousticStage(config, settings, loop, every, weights, listener)
        run_stage(folder / f"joint-{index}", again, loop, {"settings": asdict(settings)})
        weights = load_average(folder / f"joint-{index}", "acoustic")
    return weights


def train_probe(
    folder: Path, config: AcousticConfig, recipe: Recipe, corpus: Corpus
) -> PhonemeProbe:
    """Run the probe's stage; returns what it has learnt."""
    stage = ProbeStage(config, recipe.probe, recipe.probe_loop, corpus)
    run_stage(folder / "probe", stage, recipe.probe_loop, {"settings": asdict(recipe.probe)})
    return stage.probe


def pack_tensors(base: Pack, which: Part) -> dict[str, Tensor]:
    """Return a pack's weights as tensors."""
    return to_tensors(base.tensors(which))


def text_data(folder: Path, quantizer: Quantizer | None) -> Data:
    """Read what stage 3 learns: a teacher's texts where there are any, else the recordings."""
    if not (folder / "distilled").exists():
        return load_data(folder, quantizer)
    corpus = load_distilled(folder / "distilled")
    entries = [item.entry for item in corpus.items]
    tokens = {item.entry.id: item.tokens for item in corpus.items}
    return Data(corpus, _places(FeatureStore(folder / "distilled"), entries, tokens))


def run_stage(
    folder: Path,
    stage: Stage,
    loop: LoopSettings,
    how: Mapping[str, Any],
    *,
    max_minutes: float = math.inf,
) -> None:
    """Train, say how in `run.json`, and draw the curves."""
    run = begin_run(folder, stage, loop, how)
    run.train(max_minutes=max_minutes)
    draw_curves(folder)


def begin_run(folder: Path, stage: Stage, loop: LoopSettings, how: Mapping[str, Any]) -> Run:
    """Return a run that goes on where it was stopped, and say how it trains in `run.json`."""
    run = Run(folder, stage, loop)
    record = {"torch": torch.__version__, "loop": asdict(loop), **how}
    text = json.dumps(record, indent=2, default=str) + "\n"
    (folder / "run.json").write_text(text, encoding="utf-8")
    return run
