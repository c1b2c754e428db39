"""Train a model, or fine-tune one on recordings of a voice.

    prepare   recordings -> features (needs a pack: its encoders are the frozen part)
    tokens    stage 1: the quantizer
    acoustic  stage 2: tokens to sound
    distil    tokens of further texts, from the states of a synthetic teacher
    t2s       stage 3: text to tokens
    pack      weights of the stages -> a model pack
    listen    stage 3 again: a pack whose T2S has listened to what it says
    joint     stage 4: a pack whose acoustic model has learnt its own T2S's tokens
    voice     all of it for one voice: fine-tunes a pack on 1 to 5 minutes of recordings

Every stage goes on where it was stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from engine.errors import SovitsError
from engine.types import Language


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True)
    prepare = actions.add_parser("prepare", help="make features of recordings")
    prepare.add_argument("list", type=Path, help="path|speaker|language|text, or manifest.jsonl")
    prepare.add_argument(
        "--no-warp",
        action="store_true",
        help="no copies with other pitch and formants: tokens will tell who speaks",
    )
    tokens = actions.add_parser("tokens", help="train the quantizer")
    acoustic = actions.add_parser("acoustic", help="train the acoustic model")
    distil = actions.add_parser("distil", help="give texts that nobody spoke their tokens")
    distil.add_argument("states", type=Path, help="folder: engine/train/distil.py says of what")
    t2s = actions.add_parser("t2s", help="train text to tokens")
    pack = actions.add_parser("pack", help="make a model pack of trained stages")
    pack.add_argument("out", type=Path, help="folder of the new pack")
    listen = actions.add_parser("listen", help="let T2S listen to the tokens it says")
    listen.add_argument("out", type=Path, help="folder of the new pack")
    joint = actions.add_parser("joint", help="let the acoustic model learn T2S's tokens")
    joint.add_argument("out", type=Path, help="folder of the new pack")
    voice = actions.add_parser("voice", help="fine-tune a pack on recordings of one voice")
    voice.add_argument("name", help="of the new pack and its voice")
    voice.add_argument("recordings", type=Path, help="folder of recordings")
    voice.add_argument("--list", type=Path, help="path|speaker|language|text of the recordings")
    _add_voice_arguments(voice)
    for action in (prepare, tokens, acoustic, distil, t2s, pack, listen, joint, voice):
        action.add_argument("--work", type=Path, default=Path("runs/train"), help="work folder")
    for action in (prepare, acoustic, distil, pack, listen, joint, voice):
        action.add_argument("--pack", help="whose encoders (from listen on: weights) are used")
    for action in (tokens, acoustic, distil, t2s, pack, listen, joint):
        action.add_argument("--config", type=Path, help="recipe; the one of nano by default")
    for action in (acoustic, t2s):
        action.add_argument("--minutes", type=float, default=float("inf"), help="stop after")


def _add_voice_arguments(voice: argparse.ArgumentParser) -> None:
    voice.add_argument("--acoustic-steps", type=int, default=150, help="at most")
    voice.add_argument("--t2s-steps", type=int, default=100, help="at most")
    voice.add_argument("--batch-size", type=int, default=4, help="less memory: smaller")
    voice.add_argument("--denoise", action="store_true", help="turn down steady background noise")
    voice.add_argument("--asr", help="faster-whisper model that transcribes where there is no list")
    languages = [language for language in Language if language is not Language.AUTO]
    voice.add_argument("--lang", choices=languages, help="language of recordings without a list")
    voice.add_argument("--consent", default="", help="who agreed to this use of the voice")
    voice.add_argument("--voices-dir", type=Path, help="folder of voices")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        from engine.train import command_actions as actions
    except ImportError as error:
        print(f"training needs more ({error}): pip install 'sovits-live[train]'", file=sys.stderr)
        return 1
    chosen: dict[str, Callable[[argparse.Namespace], None]] = {
        "prepare": actions.prepare_features,
        "tokens": actions.tokens,
        "acoustic": actions.acoustic,
        "distil": actions.distil,
        "t2s": actions.t2s,
        "pack": actions.pack,
        "listen": actions.listen,
        "joint": actions.joint,
        "voice": actions.voice,
    }
    try:
        chosen[args.action](args)
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
