"""The `sovits-live` command: finds the subcommand and imports only that.

`sovits-live say` must start without loading an engine, so a subcommand is named here by module path
and imported when it is chosen. A subcommand module has two functions:

    add_arguments(parser: argparse.ArgumentParser) -> None
    run(args: argparse.Namespace) -> int        # exit status
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

# pip refuses to install on an older one; a checkout runs anywhere, as far as here.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(f"sovits-live needs Python 3.11 or newer, this is {sys.version.split()[0]}")


@dataclass(frozen=True, slots=True)
class Subcommand:
    """Where a subcommand lives and the one line `--help` shows for it."""

    module: str
    summary: str


SUBCOMMANDS: dict[str, Subcommand] = {
    "serve": Subcommand("server.serve_command", "start the server"),
    "say": Subcommand("clients.say", "speak a text through a running server"),
    "dub": Subcommand("clients.dub", "dub a script or subtitles through a running server"),
    "vtube": Subcommand("clients.vtube", "speak and move the mouth of a VTube Studio avatar"),
    "voice": Subcommand("engine.voice_command", "add, list, show and remove voices"),
    "watermark": Subcommand("engine.watermark_command", "make a watermark key, find its mark"),
    "export": Subcommand("export.command", "write the ONNX graphs of a model pack"),
    "model": Subcommand("engine.model_command", "fetch, import and inspect model packs"),
    "bench": Subcommand("bench.command", "measure this server, its engine and others"),
    "train": Subcommand("engine.train.command", "train a model, or fine-tune one on a voice"),
    "doctor": Subcommand("server.doctor_command", "report what works here and how to get the rest"),
}


class CommandParser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in the form of every other error."""

    def error(self, message: str) -> NoReturn:
        """See argparse; the status is its own, too."""
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the top-level parser; it knows names and summaries, not the subcommands' options."""
    width = max(map(len, SUBCOMMANDS)) + 2
    table = "\n".join(f"  {name:<{width}}{sub.summary}" for name, sub in SUBCOMMANDS.items())
    parser = CommandParser(
        prog="sovits-live",
        description="Streaming text-to-speech for GPT-SoVITS voices.",
        epilog=f"subcommands:\n{table}\n\n'sovits-live SUBCOMMAND --help' shows its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("subcommand", choices=SUBCOMMANDS, metavar="SUBCOMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sovits-live ARGV` and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        build_parser().print_help()
        return 2
    if arguments[0] == "--version":
        from server.runtime import installed_version

        print(f"sovits-live {installed_version()}")
        return 0
    if arguments[0] not in SUBCOMMANDS:
        # Lets argparse answer --help and name the valid choices.
        build_parser().parse_args(arguments[:1])
    name, rest = arguments[0], arguments[1:]
    module = importlib.import_module(SUBCOMMANDS[name].module)
    parser = CommandParser(
        prog=f"sovits-live {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(rest)))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
