"""What each `sovits-live train` action does."""

from __future__ import annotations

import argparse
import logging
import shutil
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress, TaskID, TimeElapsedColumn

from engine.backends.base import Backend
from engine.backends.reference import Reference
from engine.backends.registry import create_backend
from engine.backends.torch_reference import load_ssl
from engine.config import EngineConfig
from engine.errors import CheckpointError, VoiceError
from engine.models.quantizer import Quantizer
from engine.models.whisper import WhisperEncoder
from engine.pack import Pack, Part, load_pack
from engine.paths import resolve_paths
from engine.text.frontend import Frontend
from engine.train import stages
from engine.train.assemble import NANO_SAMPLING, Trained, assemble, retuned
from engine.train.few_shot import FewShot, Tuned, enrol, remember, tune, tuned_pack
from engine.train.few_shot_report import samples, speak, write_report
from engine.train.loop import load_average
from engine.train.prepare import (
    Preparation,
    PrepareOptions,
    Skipped,
    Source,
    prepare,
    read_list,
)
from engine.train.recordings import Found, listed, transcribed
from engine.train.settings import CONFIGS, Recipe, load_recipe
from engine.train.store import FeatureStore, split
from engine.train.transcribe import Whisper
from engine.types import Language
from engine.voice_files import check_id
from engine.voices import VoiceStore

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
    encoder = _torch(pack).reference
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
        args.work,
        recipe.acoustic,
        recipe.acoustic_stages,
        encoder=_listener(_pack(args.pack)),
        max_minutes=args.minutes,
    )


def distil(args: argparse.Namespace) -> None:
    """Give a teacher's texts their tokens; stage 3 then learns those."""
    recipe = _recipe(args)
    count = stages.train_distil(
        args.work,
        args.states,
        recipe.distil,
        recipe.distil_loop,
        _quantizer(args.work, recipe),
        Frontend(_pack(args.pack).symbol_set),
    )
    print(f"{count} texts in {args.work / 'distilled'}")


def t2s(args: argparse.Namespace) -> None:
    """Train stage 3."""
    recipe = _recipe(args)
    stages.train_t2s(
        args.work,
        recipe.t2s,
        recipe.t2s_settings,
        recipe.t2s_loop,
        _quantizer(args.work, recipe),
        max_minutes=args.minutes,
    )


def _quantizer(work: Path, recipe: Recipe) -> Quantizer:
    return stages.load_quantizer(recipe.acoustic, load_average(work / "tokens", "quantizer"))


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


def listen(args: argparse.Namespace) -> None:
    """Make a pack whose T2S has listened to what it says."""
    base = _pack(args.pack)
    weights = stages.train_listen(args.work, base, _recipe(args))
    made = retuned(base, args.out, {Part.T2S: weights})
    print(f"{made.path}; next: sovits-live export {made.path}")


def joint(args: argparse.Namespace) -> None:
    """Make a pack whose acoustic model has learnt what its T2S says."""
    base = _pack(args.pack)
    with Progress() as progress:
        task = progress.add_task("tokens of T2S", total=None)
        weights = stages.train_joint(
            args.work,
            base,
            _recipe(args),
            encoder=_listener(base),
            on_item=lambda done, count: progress.update(task, completed=done, total=count),
        )
    made = retuned(base, args.out, {Part.ACOUSTIC: weights})
    print(f"{made.path}; next: sovits-live export {made.path}")


def _listener(pack: Pack) -> WhisperEncoder | None:
    encoder = load_ssl(pack)
    return encoder if isinstance(encoder, WhisperEncoder) else None


def voice(args: argparse.Namespace) -> None:
    """Fine-tune a pack on one voice, enrol the voice in it, and report."""
    check_id("voice", args.name)
    base, paths = _pack(args.pack), resolve_paths(voices_dir=args.voices_dir)
    plan = FewShot(
        args.name,
        acoustic_steps=args.acoustic_steps,
        t2s_steps=args.t2s_steps,
        batch_size=args.batch_size,
        denoise=args.denoise,
        language=Language(args.lang) if args.lang else None,
    )
    work = args.work / args.name
    target = paths.packs_dir / args.name
    if target.exists() and not work.exists():
        raise CheckpointError(f"there is a pack {args.name!r} already; choose another name")
    voices = VoiceStore(paths.voices_dir)
    if (paths.voices_dir / args.name).exists():
        if voices.record(args.name).pack_name != args.name:
            raise VoiceError(
                f"there is a voice {args.name!r} of another pack already; choose another name, or "
                f"remove it: sovits-live voice remove {args.name}"
            )
    remember(work, plan, base)
    found = _found(args, plan, work)
    options = PrepareOptions(denoise=plan.denoise, level=True)
    report = _prepare(list(found.sources), list(found.skipped), work, base, options)
    print(f"{report.seconds / 60:.1f} min of speech", flush=True)
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, steps: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=steps)
            bar.update(tasks[what], completed=done)

        tuned = tune(work, base, plan, show)
    pack = tuned_pack(base, target, tuned)
    store = FeatureStore(work / "features")
    made = enrol(_torch(pack), pack, store, args.name, args.consent)
    voices.save(made, pack.name, replace=True)
    page = _voice_report(work, base, pack, voices, plan, report, tuned, args.consent)
    print(f"pack {pack.path}\nvoice {args.name} in {paths.voices_dir}\nreport {page}")
    print(f"next: sovits-live export {pack.path}, then sovits-live serve --pack {pack.name}")


def _found(args: argparse.Namespace, plan: FewShot, work: Path) -> Found:
    """Return the utterances: of a list where there is one, else cut and transcribed."""
    listing = args.list or args.recordings / "list.txt"
    if args.list is not None or listing.is_file():
        return listed(args.recordings, listing)
    print(f"no {listing}: the recordings are transcribed", flush=True)
    found = transcribed(
        args.recordings,
        work / "pieces",
        args.name,
        lambda: Whisper(args.asr),
        plan.language,
        on_file=lambda name: print(f"  {name}", flush=True),
    )
    print(f"read {work / 'pieces' / 'list.txt'}: what is wrong there is learnt wrong")
    return found


def _voice_report(
    work: Path,
    base: Pack,
    pack: Pack,
    voices: VoiceStore,
    plan: FewShot,
    report: Preparation,
    tuned: Tuned,
    consent: str,
) -> Path:
    """Speak what was held out with the pack as it was and as it is, and write the page."""
    store = FeatureStore(work / "features")
    entries = list(store)
    kept = split(entries, stages.few_held_out(len(entries)))[1][:3] or entries[:2]
    zero = VoiceStore(work / "zero-shot")
    backend = _torch(base)
    zero.save(enrol(backend, base, store, plan.name, consent), base.name, replace=True)
    texts = [(entry.text, Language(entry.language)) for entry in kept]
    spoken = {
        "zero-shot": speak(base, zero.directory, plan.name, texts),
        "fine-tuned": speak(pack, voices.directory, plan.name, texts),
    }
    rate_hz = base.sample_rate_hz
    found = samples(store, kept, spoken, backend.reference, rate_hz)
    for sample in found:
        print(f"  similarity {dict(sample.similarity)}  {sample.text:.40}")
    facts = {
        "pack": f"{base.name} -> {pack.name}",
        "speech": f"{report.seconds / 60:.1f} min in {len(store)} utterances",
        "settings": str(plan),
    }
    return write_report(work, plan.name, facts, report.skipped, tuned.outcomes, found, rate_hz)


def _torch(pack: Pack) -> Backend:
    return create_backend("torch", pack, EngineConfig("torch", pack.path, num_slots=1))


def _recipe(args: argparse.Namespace) -> Recipe:
    path = args.config or CONFIGS / "nano.toml"
    args.work.mkdir(parents=True, exist_ok=True)
    kept = args.work / "recipe.toml"
    if not kept.exists():
        shutil.copyfile(path, kept)
    return load_recipe(path)


def _pack(name: str | None) -> Pack:
    return load_pack(resolve_paths().chosen_pack(name))
