"""Whether speech begins later when the first sentence is longer.

    sovits-live bench growth --json bench/results/growth-nano.json      # starts this server, nano
    sovits-live bench growth --url http://127.0.0.1:9880 --kind api_v2 --voice a.wav
    sovits-live bench growth --short zh-10 --long zh-64

Short and long sentences take turns on one connection: short long, long short, ... What else the
machine does meets both alike, so the ratio of their medians is worth more than either. Status 1
when the first packet of the long ones takes more than --limit times that of the short ones.

A packet begins where speech does, so it also waits for the silence that a voice puts before some
words: the long sentences of en-same-64 open as those of en-10 do.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.compare import ratio
from bench.cpu_server import serving
from bench.environment import QuietWatch, environment, write_json
from bench.latency import add_server_arguments, describe, level_of, target_from, target_of
from bench.load import Driver, Load, Outcome, Run
from bench.processes import server_cpu_s
from bench.recording import Clock
from bench.report import write_page
from bench.rivals.serving import free_port
from bench.targets.base import Line, OpenSession, Refused, WireClosed
from bench.texts import Corpus, load_corpus
from engine.errors import EngineFailed, InvalidParameter
from engine.paths import BUNDLED

_CLOCKS = ("first_byte_s", "first_frame_s", "first_audible_s")
_JUDGED = "first_frame"  # what comes in it may be silence, which no text makes longer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_server_arguments(parser, is_url_required=False)
    add = parser.add_argument
    add("--pack", type=Path, default=BUNDLED / "nano", help="without --url: serve this")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="... and so")
    add("--short", default="en-10", metavar="CORPUS")
    add("--long", default="en-same-64", metavar="CORPUS")
    add("--pairs", type=int, default=60, help="measured utterances of each")
    add("--warmups", type=int, default=6, help="utterances of each before")
    add("--limit", type=float, default=1.25, help="long over short may be so much")


def in_turns(short: Corpus, long: Corpus, pairs: int) -> list[Line]:
    """Return the lines of both in the order they are spoken: short long, long short, ..."""
    lines = []
    for number in range(pairs):
        pair = [Line((corpus.lines[number % len(corpus.lines)],)) for corpus in (short, long)]
        lines += pair if number % 2 == 0 else pair[::-1]
    return lines


async def measure_pairs(
    open_session: OpenSession, lines: Sequence[Line], num_warmups: int, seed: int, clock: Clock
) -> Outcome:
    """Speak all lines in their order on one connection; what warms up is left out."""
    driver = Driver(open_session, lines, clock, in_order=True)
    outcome = await driver.run(Load(requests=len(lines), warmups=0, seed=seed))
    return outcome.without(num_warmups)


def ratios(short: Sequence[Run], long: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return long over short of each clock."""
    found = {}
    for clock in _CLOCKS:
        samples = [
            [value for run in runs if (value := getattr(run.clocks, clock)) is not None]
            for runs in (short, long)
        ]
        if (between := ratio(*samples)) is not None:
            found[clock.removesuffix("_s")] = asdict(between)
    return found


async def _outcome(args: argparse.Namespace, lines: Sequence[Line]) -> tuple[Outcome, float]:
    if args.url is not None:
        return await _watched(args, lines)
    async with serving(args.pack, args.set, free_port()) as server:
        args.url = server.url
        return await _watched(args, lines)


async def _watched(args: argparse.Namespace, lines: Sequence[Line]) -> tuple[Outcome, float]:
    open_session = target_from(args, load_corpus(args.short).language)
    watch = QuietWatch(server_cpu_s(args.url))
    num_warmups = 2 * args.warmups
    outcome = await measure_pairs(open_session, lines, num_warmups, args.seed, time.perf_counter)
    return outcome, watch.share()


def result_of(
    args: argparse.Namespace, corpora: Sequence[Corpus], outcome: Outcome, share: float
) -> dict[str, Any]:
    """Return what is written down: a level for each corpus, and the ratios."""
    parts = [outcome.of(corpus.lines) for corpus in corpora]
    setup = {
        "short": corpora[0].name,
        "long": corpora[1].name,
        "corpora_sha256": [corpus.sha256 for corpus in corpora],
        "pairs": args.pairs,
        "warmups": args.warmups,
        "limit": args.limit,
        "seed": args.seed,
        "codec": args.codec,
        "rate_hz": args.rate_hz,
    }
    levels = [
        level_of({"corpus": corpus.name}, part, share)
        for corpus, part in zip(corpora, parts, strict=True)
    ]
    found = ratios(parts[0].runs, parts[1].runs)
    return {
        "bench": "growth",
        "target": target_of(args),
        "setup": setup,
        "long_over_short": found,
        "holds": _JUDGED in found and found[_JUDGED]["p50"] <= args.limit,
        "levels": levels,
    }


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 when it grows more than it may, or was not heard."""
    try:
        if args.pairs < 1:
            raise InvalidParameter("pairs", args.pairs, "at least 1")
        corpora = load_corpus(args.short), load_corpus(args.long)
        lines = in_turns(*corpora, args.pairs + args.warmups)
        outcome, share = asyncio.run(_outcome(args, lines))
    except (EngineFailed, InvalidParameter, Refused, WireClosed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    result = result_of(args, corpora, outcome, share)
    for level in result["levels"]:
        print(describe(level))
    for clock, found in result["long_over_short"].items():
        interval = f"[{found['low']:.3f} .. {found['high']:.3f}]"
        print(f"long over short  {clock:<14} p50 {found['p50']:.3f} {interval}")
    verdict = "holds" if result["holds"] else "does not hold"
    print(f"{verdict}: {_JUDGED} of {args.long} is to be at most {args.limit} of {args.short}'s")
    if args.json:
        write_json(args.json, result)
    if args.report:
        write_page(args.report, {"growth": {"environment": environment(), **result}})
    return int(not result["holds"])
