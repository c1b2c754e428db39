"""How well a pack speaks: word errors, predicted opinion, whose voice it is, collapses, streaming.

    sovits-live bench quality all OUT --pack PACK       speak, judge, and write the page
    sovits-live bench quality speak OUT --pack PACK     only audio (needs nothing extra)
    sovits-live bench quality judge OUT                 only figures (needs the judges)

OUT/quality.json and OUT/quality.html are the result. A run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from bench.quality.items import Folder
from bench.quality.lists import LISTS
from bench.quality.speaker import Settings, pack_params
from engine.config import PRECISIONS
from engine.errors import InvalidParameter, SovitsError
from engine.pack import load_pack
from engine.paths import resolve_paths
from engine.types import StreamMode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("all", "speak", "judge"))
    parser.add_argument("out", type=Path, help="folder of audio and figures")
    speaking = parser.add_argument_group("speaking")
    speaking.add_argument("--pack", help="name or folder of the pack")
    speaking.add_argument("--backend", default="onnxruntime")
    speaking.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the T2S")
    speaking.add_argument("--lists", default=",".join(LISTS), help="of " + ",".join(LISTS))
    speaking.add_argument("--limit", type=int, help="lines of each list")
    speaking.add_argument("--voices", default="", help="only these, by commas")
    speaking.add_argument("--voices-dir", type=Path, help="more voices than the pack's own")
    speaking.add_argument("--cut", choices=("whole", "server"), default="whole",
                          help="whole sentences, or cut as the server cuts a text")  # fmt: skip
    speaking.add_argument("--mode", choices=list(StreamMode), default="balanced")
    speaking.add_argument("--speakers", type=Path, metavar="LIST",
                          help="recordings to clone: path|speaker|language|text")  # fmt: skip
    speaking.add_argument("--clone", default="", help="only these of the speakers, by commas")
    speaking.add_argument("--per-speaker", type=int, default=3, help="lines and language")
    speaking.add_argument("--resynthesis", type=Path, metavar="LIST",
                          help="recordings to speak from their own tokens")  # fmt: skip
    speaking.add_argument(
        "--runs", type=int, default=0, help="utterances that only count collapses"
    )
    speaking.add_argument("--streams", type=int, default=6, help="sentences compared in each mode")
    speaking.add_argument("--seed", type=int, default=0)
    for name in ("top_k", "top_p", "temperature", "repetition_penalty", "noise_scale"):
        kind = int if name == "top_k" else float
        speaking.add_argument(f"--{name.replace('_', '-')}", type=kind, help="else the pack's")
    judging = parser.add_argument_group("judging")
    judging.add_argument("--teacher", type=Path,
                         help="the teacher's readings: LINE.wav or VOICE/LINE.wav")  # fmt: skip
    judging.add_argument("--json", type=Path, help="also write the result here")


def run(args: argparse.Namespace) -> int:
    """Speak, judge or both."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if args.action != "judge":
            _speak(args)
        if args.action != "speak":
            _judge(args)
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _speak(args: argparse.Namespace) -> None:
    from bench.quality.speak import Plan, speak

    settings = _settings(args)
    pack = load_pack(settings.pack)
    folder = Folder(args.out)
    folder.open(
        {
            "pack": pack.name,
            "fingerprint": pack.fingerprint,
            "speaker_kind": pack.config.speaker.kind if pack.config.speaker else None,
            "backend": settings.backend,
            "precision": settings.precision,
            "cut": settings.cut,
            "params": asdict(settings.params),
        }
    )
    lists = tuple(name for name in args.lists.split(",") if name)
    if wrong := sorted(set(lists) - set(LISTS)):
        raise InvalidParameter("lists", wrong[0], ", ".join(LISTS))
    plan = Plan(
        lists=lists,
        limit=args.limit,
        voices=tuple(name for name in args.voices.split(",") if name),
        speakers=args.speakers,
        cloned=tuple(name for name in args.clone.split(",") if name),
        per_speaker=args.per_speaker,
        resynthesis=args.resynthesis,
        runs=args.runs,
        streams=args.streams,
    )
    speak(folder, settings, plan, _progress("spoken"))
    print(f"\n{len(folder.items)} utterances in {args.out}")


def _settings(args: argparse.Namespace) -> Settings:
    path = resolve_paths().chosen_pack(args.pack)
    names = ("top_k", "top_p", "temperature", "repetition_penalty", "noise_scale")
    changes = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    params = pack_params(load_pack(path), seed=args.seed).updated(changes)
    return Settings(
        pack=path,
        backend=args.backend,
        precision=args.precision,
        voices_dir=args.voices_dir,
        cut=args.cut,
        params=replace(params, mode=StreamMode(args.mode)),
    )


def _judge(args: argparse.Namespace) -> None:
    from bench.quality.judging import judge
    from bench.quality.summary import summary, write_result

    folder = Folder(args.out)
    folder.settings()
    judge(folder, args.teacher, _progress("judged"))
    result = summary(folder)
    for path in write_result(folder, result, args.json):
        print(path)


def _progress(verb: str) -> Callable[[str], None]:
    """Return what counts utterances on one line of a terminal, and is silent elsewhere."""
    done = itertools.count(1)

    def show(name: str) -> None:
        number = next(done)
        if sys.stderr.isatty():
            print(f"\r{number} {verb}: {name:<50.50}", end="", file=sys.stderr, flush=True)
        elif number % 50 == 0:
            print(f"{number} {verb}", file=sys.stderr, flush=True)

    return show
