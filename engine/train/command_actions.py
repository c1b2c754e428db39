"""What each `sovits-live train` action does."""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from engine.backends.reference import Reference
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.errors import CheckpointError
from engine.pack import Pack, Part, load_pack, write_pack
from engine.paths import resolve_paths
from engine.text.frontend import Frontend
from engine.train import stages
from engine.train.acoustic import AcousticSettings
from engine.train.assemble import NANO_SAMPLING, Trained, assemble
from engine.train.loop import LoopSettings, load_average
from engine.train.prepare import (
    AUDIO_SUFFIXES,
    Preparation,
    PrepareOptions,
    Skipped,
    Source,
    prepare,
    read_list,
)
from engine.train.settings import CONFIGS, Recipe, load_recipe
from engine.train.store import FeatureStore
from engine.train.t2s import T2SSettings
from engine.types import Array

logger = logging.getLogger(__name__)


def prepare_features(args: argparse.Namespace) -> None:
    """Fill the work folder's features."""
    skipped: list[Skipped] = []
    sources = list(read_list(args.list, skipped))
    report = _prepare(
        sources, skipped, args.work, _pack(args.pack), PrepareOptions(warp=not args.no_warp)
    )
    print(f"{report.num_new} new, {report.num_known} known, {report.seconds / 60:.1f} min in all")


def _prepare(
    sources: list[Source], skipped: list[Skipped], work: Path, pack: Pack, options: PrepareOptions
) -> Preparation:
    config = EngineConfig(backend="torch", pack=pack.path, num_slots=1)
    encoder = create_backend("torch", pack, config).reference
    assert isinstance(encoder, Reference)
    with Progress() as progress:
        task = progress.add_task("features", total=len(sources))
        report = prepare(
            sources,
            FeatureStore(work / "features"),
            encoder,
            Frontend(pack.symbol_set),
            pack.config.acoustic,
            options=options,
            skipped=skipped,
            on_file=lambda name: progress.advance(task),
        )
    for problem in report.skipped:
        print(f"skipped {problem.where}: {problem.reason}")
    return report


def tokens(args: argparse.Namespace) -> None:
    """Train stage 1."""
    recipe = _recipe(args)
    stages.train_tokens(args.work, recipe.acoustic, recipe.tokens, recipe.tokens_loop)


def acoustic(args: argparse.Namespace) -> None:
    """Train stage 2."""
    recipe = _recipe(args)
    stages.train_acoustic(
        args.work, recipe.acoustic, recipe.acoustic_stages, max_minutes=args.minutes
    )


def t2s(args: argparse.Namespace) -> None:
    """Train stage 3."""
    recipe = _recipe(args)
    weights = load_average(args.work / "tokens", "quantizer")
    stages.train_t2s(
        args.work,
        recipe.t2s,
        recipe.t2s_settings,
        recipe.t2s_loop,
        stages.load_quantizer(recipe.acoustic, weights),
        max_minutes=args.minutes,
    )


def pack(args: argparse.Namespace) -> None:
    """Make a pack: trained stages with the encoders of another pack."""
    recipe, base = _recipe(args), _pack(args.pack)
    last = args.work / f"acoustic-{len(recipe.acoustic_stages)}"
    speaker = base.config.speaker
    trained = Trained(
        acoustic=recipe.acoustic,
        acoustic_weights=load_average(last, "acoustic"),
        t2s=recipe.t2s,
        t2s_weights=load_average(args.work / "t2s", "t2s"),
        ssl=base.config.ssl,
        ssl_weights=base.tensors(Part.SSL),
        speaker=speaker,
        speaker_weights=base.tensors(Part.SPEAKER) if speaker else {},
    )
    info = replace(base.info, name=args.out.name, sampling=NANO_SAMPLING)
    made = assemble(args.out, info, trained)
    print(f"{made.path}: {made.num_bytes / 1e6:.1f} MB; next: sovits-live export {made.path}")


def voice(args: argparse.Namespace) -> None:
    """Fine-tune a pack on one voice; the new pack needs its voice enrolled."""
    base = _pack(args.pack)
    skipped: list[Skipped] = []
    listing = args.list or args.recordings / "list.txt"
    if not listing.is_file():
        raise CheckpointError(
            f"{listing} does not exist: say what is spoken in each recording, one line per file, "
            "path|speaker|language|text"
        )
    sources = list(read_list(listing, skipped))
    listed = {source.path.resolve() for source in sources}
    for path in sorted(args.recordings.iterdir()):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.resolve() not in listed:
            skipped.append(Skipped(path.name, f"not named in {listing.name}"))
    work = args.work / args.name
    report = _prepare(sources, skipped, work, base, PrepareOptions(level=True))
    print(f"{report.seconds / 60:.1f} min of speech")
    weights = _tensors(base, Part.ACOUSTIC)
    tune = AcousticSettings(
        batch_size=4,
        max_frames=200,
        slice_frames=100,
        unit_weight=0.0,
        prior_share=1.0,
        frozen=("posterior",),
    )
    last = stages.train_acoustic(
        work, base.config.acoustic, [(tune, _gentle(args.acoustic_steps))], weights
    )
    quantizer = stages.load_quantizer(base.config.acoustic, stages.part(weights, "quantizer."))
    folder = stages.train_t2s(
        work,
        base.config.t2s,
        T2SSettings(batch_size=8, guide_layers=()),
        _gentle(args.t2s_steps),
        quantizer,
        _tensors(base, Part.T2S),
    )
    made = _tuned_pack(base, args.name, load_average(last, "acoustic"), load_average(folder, "t2s"))
    print(f"pack {made.path}; next: sovits-live export {made.path}, then sovits-live voice add")


def _gentle(steps: int) -> LoopSettings:
    """A low rate: what the pack has learned of everybody must not be lost on one voice."""
    return LoopSettings(
        steps=steps, learning_rate=5e-5, final_rate=1e-5, warmup_steps=10, ema=0.9, log_every=10
    )


def _tuned_pack(
    base: Pack, name: str, acoustic_weights: Mapping[str, Tensor], t2s_weights: Mapping[str, Tensor]
) -> Pack:
    """Write the fine-tuned pack beside the user's others."""
    parts: dict[Part, Mapping[str, Array]] = {
        part: base.tensors(part) for part in Part if base.has(part)
    }
    trained = {n: v for n, v in acoustic_weights.items() if not n.startswith("posterior.")}
    parts[Part.ACOUSTIC] = {n: _half(v) for n, v in trained.items()}
    parts[Part.T2S] = {n: _half(v) for n, v in t2s_weights.items()}
    info = replace(base.info, name=name)
    vocab = base.vocab() if base.has(Part.BERT) else None
    return write_pack(resolve_paths().packs_dir / name, info, base.config, parts, vocab=vocab)


def _half(value: Tensor) -> Array:
    array: Array = value.detach().numpy()
    return array.astype(np.float16) if array.dtype.kind == "f" else array


def _tensors(base: Pack, part: Part) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in base.tensors(part).items()}


def _recipe(args: argparse.Namespace) -> Recipe:
    path = args.config or CONFIGS / "nano.toml"
    args.work.mkdir(parents=True, exist_ok=True)
    kept = args.work / "recipe.toml"
    if not kept.exists():
        shutil.copyfile(path, kept)
    return load_recipe(path)


def _pack(name: str | None) -> Pack:
    return load_pack(resolve_paths().chosen_pack(name))
