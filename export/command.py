"""Write a model pack's ONNX graphs, each checked against torch.

The default backend (ONNX Runtime, no torch) serves a pack from these graphs.
"""

from __future__ import annotations

import argparse
import sys
import time

from engine.errors import SovitsError
from engine.manifest import GraphRecord
from engine.pack import load_pack
from engine.paths import resolve_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sovits-live export`."""
    parser.add_argument("pack", help="a pack's name, or its folder")
    parser.add_argument(
        "--no-int8", action="store_true", help="leave out the 8-bit variants of the T2S graphs"
    )


def run(args: argparse.Namespace) -> int:
    """Export and print one line per graph."""
    try:
        from export.export_pack import export_pack
        from export.verify import token_agreement
    except ImportError as error:
        print(f"export needs torch and onnx ({error}): pip install 'sovits-live[export]'")
        return 1
    started = time.monotonic()

    def report(record: GraphRecord) -> None:
        megabytes = record.num_bytes / 1e6
        print(
            f"  {record.graph:<9}{record.precision:<6}{megabytes:8.1f} MB   "
            f"error against torch {record.error:.1e}",
            flush=True,
        )

    try:
        pack = load_pack(resolve_paths().pack(args.pack))
        print(f"{pack.name} ({pack.family})", flush=True)
        export_pack(pack, int8=not args.no_int8, on_graph=report)
        if not args.no_int8:
            found = token_agreement(pack)
            print(
                f"  int8 chooses the token of fp32 in {found.same_choice:.1%} of {found.steps} "
                f"steps, has it among its five best in {found.in_five_best:.1%}"
            )
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"done in {time.monotonic() - started:.0f} s: {pack.path / 'onnx'}")
    return 0
