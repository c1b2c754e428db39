"""How many conversations at once a server holds: speech begins in time and never breaks off.

Every client hears its answer out before it asks again. The largest number of clients is looked for
at which the 95th percentile of the first audible sample stays within --limit-ms and nobody runs dry
with 100 ms of buffer: doubled until it fails, then halved between. A server of ours refuses those
it does not expect to feed: start it with `--set server.limits.measured_capacity=false`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench.environment import QuietWatch, environment, write_json
from bench.latency import (
    add_target_arguments,
    corpus_from,
    describe,
    level_of,
    lines_from,
    setup_of,
    shape_of,
    target_from,
    target_of,
)
from bench.load import Driver, Load
from bench.processes import server_cpu_s
from bench.report import write_page
from bench.targets.base import Refused, WireClosed
from engine.errors import InvalidParameter

BUFFER_MS = 100


def holds(level: dict[str, Any], limit_s: float) -> bool:
    """Return whether everybody was served in time and whole."""
    summary = level["summary"]
    audible = summary["first_audible_s"]
    return (
        audible is not None
        and audible["n"] == summary["n"]
        and audible["p95"] <= limit_s
        and not summary["underruns"][str(BUFFER_MS)]["gaps"]
        and not summary["errors"]
    )


async def largest(holds_at: Callable[[int], Awaitable[bool]], most: int) -> int:
    """Return the largest number up to `most` that holds, 0 if not even one does.

    What holds for n is taken to hold for less; no number is tried twice.
    """
    good, bad = 0, 1
    while bad <= most and await holds_at(bad):
        good, bad = bad, bad * 2
    if bad > most:
        if good == most or await holds_at(most):
            return most
        bad = most
    while bad - good > 1:
        middle = (good + bad) // 2
        if await holds_at(middle):
            good = middle
        else:
            bad = middle
    return good


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_target_arguments(parser)
    parser.add_argument("--limit-ms", type=float, default=300.0)
    parser.add_argument("--most", type=int, default=64, help="do not try more clients")
    parser.add_argument("--requests-per-client", type=int, default=5)


async def _search(args: argparse.Namespace, driver: Driver) -> tuple[int, list[dict[str, Any]]]:
    levels: list[dict[str, Any]] = []

    async def holds_at(clients: int) -> bool:
        requests = clients * args.requests_per_client
        load = Load(clients=clients, requests=requests, listens=True, seed=args.seed)
        watch = QuietWatch(server_cpu_s(args.url))
        level = level_of(shape_of(load), await driver.run(load), watch.share())
        levels.append(level)
        verdict = holds(level, args.limit_ms / 1000)
        print(f"{describe(level)}\n  {'holds' if verdict else 'does not hold'}")
        return verdict

    return await largest(holds_at, args.most), levels


def run(args: argparse.Namespace) -> int:
    """Search and print; status 1 if not one client is served."""
    try:
        corpus = corpus_from(args)
        open_session = target_from(args, corpus.language)
        driver = Driver(open_session, lines_from(args, corpus), time.perf_counter)
        found, levels = asyncio.run(_search(args, driver))
    except (InvalidParameter, Refused, WireClosed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    bound = " (not tried beyond)" if found == args.most else ""
    print(f"capacity: {found} clients{bound} with p95 first audible <= {args.limit_ms:.0f} ms")
    setup = {**setup_of(args, corpus), "limit_ms": args.limit_ms, "buffer_ms": BUFFER_MS}
    result = {"bench": "capacity", "target": target_of(args), "setup": setup, "capacity": found}
    if args.json:
        write_json(args.json, {**result, "levels": levels})
    if args.report:
        whole = {"environment": environment(), **result, "levels": levels}
        write_page(args.report, {"capacity": whole})
    return int(found == 0)
