"""Measure this server and others. Every figure comes with its command, hardware and n."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping

from server.cli import CommandParser

# Each module has add_arguments(parser) and run(args) -> int, and is imported when it is chosen.
BENCHES: Mapping[str, tuple[str, str]] = {
    "cpu": ("bench.cpu", "networks, whole servers and memory on this CPU, against the targets"),
    "engine": ("bench.engine", "steps, batching, chunk cost and streaming modes of the engine"),
    "modes": ("bench.modes", "streaming modes: nearness to offline and cost of the first packet"),
    "vocoder": ("bench.vocoder_batch", "whether the vocoder gains from batching sessions"),
    "latency": ("bench.latency", "clocks of any streaming TTS server, through its real socket"),
    "capacity": ("bench.capacity", "how many conversations at once a server holds"),
    "growth": ("bench.growth", "whether speech begins later when the first sentence is longer"),
    "compare": ("bench.compare", "how two results of bench latency differ"),
    "quality": ("bench.quality.command", "how well a pack speaks, by judges that need no network"),
    "report": ("bench.report", "one page of tables and plots out of any results"),
    "rivals": ("bench.rivals.command", "this server and what is installed beside it, in turns"),
    "load": ("bench.transport", "200 listeners: gaps, CPU per message, cancels, a drain"),
    "watermark": ("bench.watermark", "what the watermark survives, costs, and whether it is heard"),
    "soak": ("bench.soak", "sessions, cancels and cut connections for a long time, all checked"),
    "scheduler": ("bench.scheduler", "simulate many sessions on measured step costs"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `bench NAME ...`; the rest of the line is the bench's own."""
    width = max(map(len, BENCHES)) + 2
    parser.epilog = "benches:\n" + "\n".join(
        f"  {name:<{width}}{summary}" for name, (_, summary) in BENCHES.items()
    )
    parser.add_argument("bench", choices=BENCHES, metavar="BENCH")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the chosen bench."""
    module = importlib.import_module(BENCHES[args.bench][0])
    parser = CommandParser(
        prog=f"sovits-live bench {args.bench}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(args.arguments)))
