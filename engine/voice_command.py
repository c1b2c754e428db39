"""Add, list, show and remove voices, and give them styles.

A voice is prepared once from 3 to 10 s of clean speech and the words spoken in it. Several
recordings average their timbre; --style-ref takes the manner of speaking from another recording
(then --text is what is said in that one). Only features are stored unless --keep-audio is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path

from engine.audio.io import read_audio
from engine.enroll import Enrolment, Prompt, Used, open_enroller
from engine.errors import SovitsError, VoiceError
from engine.pack import Pack, load_pack
from engine.paths import Paths, resolve_paths
from engine.types import Language, Voice
from engine.voice_files import DEFAULT_STYLE, VoiceRecord, check_id, with_style
from engine.voices import VoiceStore, check_pack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions add, list, show, remove and style add."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="make a voice from recordings")
    add.add_argument("name", help="the voice's id: a-z, 0-9, '_' and '-'")
    _add_reference_arguments(add)
    add.add_argument("--description", default="", help="shown in listings")
    add.add_argument("--consent", default="", help="who agreed to this use of the voice")
    listing = actions.add_parser("list", help="name the voices there are")
    show = actions.add_parser("show", help="show a voice's styles and notes")
    remove = actions.add_parser("remove", help="delete a voice and everything kept of it")
    style = actions.add_parser("style", help="give a voice another style")
    style_actions = style.add_subparsers(dest="style_action", required=True)
    style_add = style_actions.add_parser("add", help="add a style to a voice")
    style_add.add_argument("name", help="the voice's id")
    style_add.add_argument("style", help="the style's name, such as 'happy'")
    _add_reference_arguments(style_add)
    for action in (show, remove):
        action.add_argument("name", help="the voice's id")
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="print JSON")
    for action in (add, listing, show, remove, style_add):
        action.add_argument("--voices-dir", type=Path, help="folder of voices")
    for action in (add, style_add):
        action.add_argument("--packs-dir", type=Path, help="folder of packs")


def _add_reference_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recordings", nargs="+", type=Path, help="recordings of the voice")
    parser.add_argument("--text", default="", help="exactly what is said in the first recording")
    parser.add_argument("--lang", default="auto", choices=list(Language), help="its language")
    parser.add_argument("--style-ref", type=Path, help="take the manner from this one (its --text)")
    parser.add_argument("--denoise", action="store_true", help="turn down steady background noise")
    parser.add_argument("--keep-audio", action="store_true", help="store the recordings too")
    parser.add_argument("--replace", action="store_true", help="replace what has that name")
    parser.add_argument("--pack", help="name or folder of the model pack")
    parser.add_argument(
        "--backend", help="what computes the features: onnxruntime where exported, else torch"
    )


def run(args: argparse.Namespace) -> int:
    """Do one action; errors are one line on stderr and exit status 1."""
    actions = {
        "add": _add,
        "list": _list,
        "show": _show,
        "remove": _remove,
        "style": _style_add,
    }
    paths = resolve_paths(getattr(args, "packs_dir", None), args.voices_dir)
    try:
        actions[args.action](args, paths)
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _add(args: argparse.Namespace, paths: Paths) -> None:
    check_id("voice", args.name)
    store = VoiceStore(paths.voices_dir)
    if (paths.voices_dir / args.name).exists() and not args.replace:
        raise VoiceError(f"voice {args.name!r} exists; add --replace to make it anew")
    pack = load_pack(paths.chosen_pack(args.pack))
    enrolment = _enroll(args, pack)
    voice = Voice(
        id=args.name,
        pack_fingerprint=pack.fingerprint,
        styles={DEFAULT_STYLE: enrolment.style},
        description=args.description,
        consent=args.consent,
    )
    folder = store.save(voice, pack.name, references=_kept(args, DEFAULT_STYLE), replace=True)
    print(f"voice {args.name} for pack {pack.name}, in {folder}")
    print(f'hear it: sovits-live say "Hello." --voice {args.name} --out hello.wav')
    if not args.consent:
        print("note: say who agreed to this use of the voice with --consent", file=sys.stderr)


def _style_add(args: argparse.Namespace, paths: Paths) -> None:
    check_id("style", args.style)
    store = VoiceStore(paths.voices_dir)
    record = store.record(args.name)
    if args.style in record.styles and not args.replace:
        raise VoiceError(f"voice {args.name!r} has a style {args.style!r}; add --replace")
    pack = load_pack(paths.chosen_pack(args.pack or record.pack_name))
    check_pack(record, pack)
    enrolment = _enroll(args, pack)
    voice = with_style(store.load(args.name), args.style, enrolment.style)
    kept = _kept(args, args.style)
    store.save(voice, pack.name, references=kept, keep_references=True, replace=True)
    print(f"style {args.style} of voice {args.name}")


def _enroll(args: argparse.Namespace, pack: Pack) -> Enrolment:
    """Read the recordings, prepare a style and report what was used."""
    recordings = [read_audio(path) for path in args.recordings]
    spoken = read_audio(args.style_ref) if args.style_ref else recordings[0]
    prompt = Prompt(spoken, args.text, Language(args.lang))
    enroller = open_enroller(pack, args.backend)
    has_other_timbre = args.style_ref or len(recordings) > 1
    enrolment = enroller.enroll(
        prompt, recordings if has_other_timbre else (), denoise=args.denoise
    )
    _report(enrolment, args.text.strip() if pack.info.prompts else "")
    return enrolment


def _report(enrolment: Enrolment, text: str) -> None:
    style = enrolment.style
    _report_use("manner", enrolment.prompt)
    if style.transcript != text:
        print(f"  of the text only this was used: {style.transcript}")
    if not style.transcript:
        reason = "no --text was given, or this model takes the timbre only"
        print(f"note: the manner of speaking is the model's own: {reason}", file=sys.stderr)
    for used in enrolment.timbre:
        if used != enrolment.prompt:
            _report_use("timbre", used)
    print(f"gain {style.gain_db:+.1f} dB, {len(style.prompt_tokens)} prompt tokens")


def _report_use(what: str, used: Used) -> None:
    report = used.report
    print(
        f"{what}: {used.name} {used.start_s:.1f}-{used.end_s:.1f} s, "
        f"{report.loudness_lufs:.0f} LUFS, {report.snr_db:.0f} dB above its noise"
    )
    for finding in report.findings:
        print(f"warning: {used.name}: {finding.message}", file=sys.stderr)


def _kept(args: argparse.Namespace, style: str) -> dict[str, bytes]:
    if not args.keep_audio:
        return {}
    paths = [*args.recordings, *([args.style_ref] if args.style_ref else [])]
    return {f"{style}-{i}{path.suffix}": path.read_bytes() for i, path in enumerate(paths, 1)}


def _list(args: argparse.Namespace, paths: Paths) -> None:
    listing = VoiceStore(paths.voices_dir).listing()
    if args.json:
        rows = [_summary(record) for record in listing.records.values()]
        errors = [{"id": name, "error": str(e)} for name, e in listing.problems.items()]
        print(json.dumps(rows + errors, indent=2, ensure_ascii=False))
        return
    if not listing.records and not listing.problems:
        print(f"no voice in {paths.voices_dir}; make one with: sovits-live voice add --help")
    for record in listing.records.values():
        info = record.info()
        styles = " ".join(info.styles)
        print(f"{record.id}  {info.language}  {styles}  {record.pack_name}  {record.description}")
    for problem in listing.problems.values():
        print(f"error: {problem}", file=sys.stderr)
    with suppress(SovitsError):  # where there is no pack, it has no voices
        pack = paths.chosen_pack(None)
        own = VoiceStore(pack / "voices").listing().records.keys()
        for voice_id in sorted(own - listing.records):
            print(f"{voice_id}  comes with {pack.name}")


def _summary(record: VoiceRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "description": record.description,
        "consent": record.consent,
        "pack": record.pack_name,
        "pack_fingerprint": record.pack_fingerprint,
        "styles": {name: dict(style) for name, style in record.styles.items()},
    }


def _show(args: argparse.Namespace, paths: Paths) -> None:
    store = VoiceStore(paths.voices_dir)
    record = store.record(args.name)
    store.load(args.name)
    if args.json:
        print(json.dumps(_summary(record), indent=2, ensure_ascii=False))
        return
    print(f"voice {record.id}: {record.description}".rstrip(": "))
    print(f"  pack {record.pack_name} ({record.pack_fingerprint[:12]})")
    print(f"  consent: {record.consent or 'not stated'}")
    for name, style in record.styles.items():
        print(f"  style {name}: {style['language']}, gain {style['gain_db']:+.1f} dB")
        print(f"    {style['transcript'] or 'no prompt'}")


def _remove(args: argparse.Namespace, paths: Paths) -> None:
    VoiceStore(paths.voices_dir).remove(args.name)
    print(f"removed voice {args.name}")
