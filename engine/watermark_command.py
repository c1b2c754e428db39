"""Make the key of a watermark, and find its mark in a recording.

    sovits-live watermark new-key ~/.config/sovits-live/watermark.key
    sovits-live watermark detect recording.mp3 --key-file ~/.config/sovits-live/watermark.key

A server marks what it speaks with server.watermark_key_file. detect exits like grep: 0 the mark is
there, 1 it is not, 2 the recording or the key cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from engine.audio.io import AudioLimits, read_audio
from engine.audio.watermark_detector import FALSE_ALARM, Detection, detect
from engine.audio.watermark_key import WatermarkKey
from engine.errors import InvalidParameter, SovitsError

EXIT_MARKED, EXIT_NOT_MARKED, EXIT_FAILED = 0, 1, 2
_LIMITS = AudioLimits(
    num_bytes=1 << 30,
    duration_s=1800.0,
    advice="cut out the part that matters, half an hour at most",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions new-key and detect."""
    actions = parser.add_subparsers(dest="action", required=True)
    new_key = actions.add_parser("new-key", help="write a new key, never over another file")
    new_key.add_argument("file", type=Path, help="where to")
    find = actions.add_parser("detect", help="tell whether a recording carries the mark of a key")
    find.add_argument("file", type=Path, help="WAV, FLAC, OGG, Opus, MP3 ... of up to 30 minutes")
    find.add_argument("--key-file", type=Path, required=True, help="the server's key")
    find.add_argument(
        "--false-alarm",
        type=float,
        default=FALSE_ALARM,
        metavar="P",
        help="how probable an alarm may be for a recording without the mark (default: %(default)g)",
    )
    find.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do one action; errors are one line on stderr and exit status 2."""
    try:
        if args.action == "new-key":
            return _new_key(args.file)
        return _detect(args)
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED


def _new_key(path: Path) -> int:
    WatermarkKey.generate().write(path)
    print(f"wrote {path}; mark with it: sovits-live serve --set server.watermark_key_file={path}")
    return 0


def _detect(args: argparse.Namespace) -> int:
    if not 0 < args.false_alarm < 1:
        raise InvalidParameter("--false-alarm", args.false_alarm, "more than 0 and less than 1")
    key = WatermarkKey.read(args.key_file)
    recording = read_audio(args.file, limits=_LIMITS)
    found = detect(recording.samples, recording.sample_rate_hz, key, false_alarm=args.false_alarm)
    if args.json:
        print(json.dumps({"file": str(args.file), **asdict(found)}))
    else:
        print(_sentence(args.file, found))
    return EXIT_MARKED if found.is_marked else EXIT_NOT_MARKED


def _sentence(path: Path, found: Detection) -> str:
    limit = f"threshold {found.threshold:.2f}, false alarms below {found.false_alarm:g}"
    if not found.is_marked:
        return f"{path}: no mark of this key (score {found.score:.2f}, {limit})"
    where = f"{found.start_s:g} to {found.end_s:.3g} s"
    return f"{path}: marked with this key, best at {where} (score {found.score:.2f}, {limit})"
