"""Fetch or import official GPT-SoVITS files as model packs, and look after the packs there are."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from engine.checkpoint import FileKind
from engine.errors import CheckpointError, SovitsError
from engine.importer import ImportRequest, import_official
from engine.pack import MANIFEST, Pack, load_pack
from engine.paths import Paths, resolve_paths
from engine.pull_command import add_pull_arguments, run_pull

# Folders and files below upstream's GPT_SoVITS/pretrained_models.
_HUBERT = "chinese-hubert-base"
_BERT = "chinese-roberta-wwm-ext-large"
_SPEAKER = "sv/pretrained_eres2netv2w24s4ep4.ckpt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions pull, import, list, show, verify and remove."""
    actions = parser.add_subparsers(dest="action", required=True)
    add_pull_arguments(actions.add_parser("pull", help="fetch official weights and make a pack"))
    _add_import(actions.add_parser("import", help="make a pack from .ckpt and .pth files"))
    listing = actions.add_parser("list", help="name the packs there are")
    show = actions.add_parser("show", help="show a pack's numbers, files and notices")
    verify = actions.add_parser("verify", help="compare every file with its sha256")
    remove = actions.add_parser("remove", help="delete a pack")
    for action in (show, verify, remove):
        action.add_argument("name", help="a pack's name, or its folder")
    for action in (*actions.choices.values(),):
        action.add_argument("--packs-dir", type=Path, help="folder of packs")
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="print JSON")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpt", type=Path, required=True, help="GPT weights (.ckpt)")
    parser.add_argument("--sovits", type=Path, required=True, help="SoVITS weights (.pth)")
    parser.add_argument("--hubert", type=Path, help=f"folder {_HUBERT}; needed to enrol voices")
    parser.add_argument("--bert", type=Path, help=f"folder {_BERT}; for Chinese prosody")
    parser.add_argument("--speaker", type=Path, help=f"{_SPEAKER}; v2Pro and v2ProPlus need it")
    parser.add_argument(
        "--pretrained",
        type=Path,
        help="upstream's pretrained_models folder, to find these three in",
    )
    parser.add_argument("--name", required=True, help="the pack's name")
    parser.add_argument("--out", type=Path, help="the pack's folder (default: NAME in --packs-dir)")
    parser.add_argument("--notice", default="", help="text shown wherever the pack is used")
    parser.add_argument("--licence", action="append", default=[], help="licence line (repeatable)")
    parser.add_argument("--replace", action="store_true", help="replace a pack of that name")


def run(args: argparse.Namespace) -> int:
    """Do one action; errors are one line on stderr and exit status 1."""
    actions = {
        "pull": run_pull,
        "import": _import,
        "list": _list,
        "show": _show,
        "verify": _verify,
        "remove": _remove,
    }
    paths = resolve_paths(packs_dir=args.packs_dir)
    try:
        actions[args.action](args, paths)
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _import(args: argparse.Namespace, paths: Paths) -> None:
    found = {
        FileKind.HUBERT: args.hubert or _below(args.pretrained, _HUBERT),
        FileKind.BERT: args.bert or _below(args.pretrained, _BERT),
        FileKind.SPEAKER: args.speaker or _below(args.pretrained, _SPEAKER),
    }
    result = import_official(
        ImportRequest(
            name=args.name,
            out=args.out or paths.packs_dir / args.name,
            gpt=args.gpt,
            sovits=args.sovits,
            hubert=found[FileKind.HUBERT],
            bert=found[FileKind.BERT],
            speaker=found[FileKind.SPEAKER],
            notice=args.notice,
            licences=tuple(args.licence),
            replace=args.replace,
        )
    )
    for warning in result.warnings:
        print(f"note: {warning}", file=sys.stderr)
    pack = result.pack
    print(f"{pack.name}: {pack.family}, {_megabytes(pack)}, in {pack.path}")


def _below(folder: Path | None, name: str) -> Path | None:
    path = folder / name if folder else None
    return path if path and path.exists() else None


def _list(args: argparse.Namespace, paths: Paths) -> None:
    rows = []
    for name in paths.pack_names():
        try:
            rows.append(_summary(load_pack(paths.pack(name))))
        except CheckpointError as error:
            rows.append({"name": name, "error": str(error)})
    if args.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        print(f"no pack in {paths.packs_dir}; make one with: sovits-live model import --help")
    for row in [] if args.json else rows:
        print("  ".join(str(row[key]) for key in row if row[key] != ""))


def _summary(pack: Pack) -> dict[str, str]:
    return {
        "name": pack.name,
        "family": pack.family,
        "languages": " ".join(pack.languages),
        "size": _megabytes(pack),
        "notice": pack.notice,
    }


def _show(args: argparse.Namespace, paths: Paths) -> None:
    pack = load_pack(paths.pack(args.name))
    data = {
        **_summary(pack),
        "path": str(pack.path),
        "fingerprint": pack.fingerprint,
        "sample_rate_hz": pack.sample_rate_hz,
        "symbol_set": pack.symbol_set,
        "licences": list(pack.info.licences),
        "sources": dict(pack.info.sources),
        "files": {name: record.num_bytes for name, record in pack.files.items()},
        "model": pack.config.to_json(),
    }
    if args.json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for key, value in data.items():
        if key != "model" and value not in ("", [], {}):
            print(f"{key}: {_inline(value)}")


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  {key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return "".join(f"\n  {item}" for item in value)
    return str(value)


def _verify(args: argparse.Namespace, paths: Paths) -> None:
    pack = load_pack(paths.pack(args.name))
    pack.verify()
    print(f"{pack.name}: {len(pack.files)} files are what they were when the pack was made")


def _remove(args: argparse.Namespace, paths: Paths) -> None:
    folder = paths.pack(args.name)
    if not (folder / MANIFEST).is_file():
        there = ", ".join(paths.pack_names()) or "none"
        raise CheckpointError(f"there is no pack {args.name!r}; there are: {there}")
    if folder.parent == paths.bundled_dir:
        raise CheckpointError(f"pack {args.name!r} is part of the installation; it stays")
    shutil.rmtree(folder)
    print(f"removed {folder}")


def _megabytes(pack: Pack) -> str:
    return f"{pack.num_bytes / 1e6:.1f} MB"
