"""Write a model pack's ONNX graphs, each checked against torch.

The default backend (ONNX Runtime, no torch) serves a pack from these graphs. With --official the
weights are written as the two files that GPT-SoVITS itself loads instead.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine.errors import SovitsError
from engine.manifest import GraphRecord
from engine.pack import Pack, load_pack
from engine.paths import resolve_paths

TARGETS = ("cpu", "cuda", "tensorrt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sovits-live export`."""
    parser.add_argument("pack", help="a pack's name, or its folder")
    parser.add_argument(
        "--for",
        dest="target",
        choices=TARGETS,
        default="cpu",
        help="cpu: with 8-bit variants; cuda, tensorrt: for a KV cache that stays on the device",
    )
    parser.add_argument("--no-int8", action="store_true", help="leave out the 8-bit variants")
    parser.add_argument(
        "--official", type=Path, metavar="FOLDER", help="write NAME.ckpt and NAME.pth here instead"
    )
    parser.add_argument("--replace", action="store_true", help="replace such files")


def run(args: argparse.Namespace) -> int:
    """Export and print one line per graph."""
    try:
        from export.export_pack import export_pack
        from export.verify import token_agreement
    except ImportError as error:
        text = f"export needs torch and onnx ({error}): pip install 'sovits-live[export]'"
        print(f"error: {text}", file=sys.stderr)
        return 1
    started = time.monotonic()

    def report(record: GraphRecord) -> None:
        megabytes = record.num_bytes / 1e6
        print(
            f"  {record.graph:<14}{record.precision:<6}{megabytes:8.1f} MB   "
            f"error against torch {record.error:.1e}",
            flush=True,
        )

    try:
        pack = load_pack(resolve_paths().pack(args.pack))
        if args.official is not None:
            _official(pack, args.official, args.replace)
            return 0
        print(f"{pack.name} ({pack.family})", flush=True)
        # Neither GPU runtime has kernels for the 8-bit graphs.
        int8 = args.target == "cpu" and not args.no_int8
        export_pack(pack, int8=int8, on_device=args.target != "cpu", on_graph=report)
        if int8:
            found = token_agreement(pack)
            print(
                f"  int8 chooses the token of fp32 in {found.same_choice:.1%} of {found.steps} "
                f"steps, has it among its five best in {found.in_five_best:.1%}"
            )
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"done in {time.monotonic() - started:.0f} s: {pack.graphs_dir}")
    return 0


def _official(pack: Pack, folder: Path, replace: bool) -> None:
    from export.official import write_official

    pair = write_official(pack, folder, replace=replace)
    print(f"{pair.gpt}\n{pair.sovits}")
