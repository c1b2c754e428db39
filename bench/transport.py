"""Two hundred listeners on one server: gaps, underruns, CPU per message, cancels, and a drain.

Starts a server, with listeners on the same machine, speaks in real time to all of them for a while,
then stops the server with SIGTERM while everybody listens. Status 1 when a listener with 100 ms of
buffer ran dry, a cancel took too long or a drain lost a packet.

The engine is the whole one on the fake backend: every token is decoded, sampled and vocoded by
name, only the networks are missing. With --engine tones it is one that costs nothing
(bench/tones.py), so that the figures are the server's alone. A lead of 400 ms keeps packets from
sharing messages: --lead-ms 400 is the dearest way to listen.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector

from bench.environment import QuietWatch, write_json
from bench.listeners import Heard, Listener, Plan
from bench.playout import Piece, play
from bench.processes import cpu_s
from bench.soak import Server
from bench.statistics import Quantiles

BUFFER_S = 0.1  # the listener's
MAX_CANCEL_S = 0.05
# Codec: rate and bytes per sample; 0: packets are whole frames.
FORMATS = {"mulaw": (8000, 1), "pcm_s16le": (24000, 2), "opus": (24000, 0)}
_FRAME_MS = 20


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds until a moment."""

    at_s: float
    gateway_s: float  # event loop and encoders
    others_s: float  # engine and frontend
    client_s: float
    messages: int
    packets: int

    @classmethod
    def now(cls, server: Server, listeners: Sequence[Listener]) -> Used:
        """Read all counters."""
        gateway, *children = server.pids()
        own = resource.getrusage(resource.RUSAGE_SELF)
        return cls(
            time.monotonic(),
            cpu_s([gateway]),
            cpu_s(children),
            own.ru_utime + own.ru_stime,
            sum(listener.num_messages for listener in listeners),
            sum(len(heard.packets) for listener in listeners for heard in listener.heard),
        )


@dataclass(frozen=True, slots=True)
class Drained:
    """What stopping the server in the middle came to."""

    open_contexts: int
    whole: int  # of those, that came to their end with every packet
    seconds: float
    exit_status: int
    close_codes: tuple[int | None, ...]


async def load(args: argparse.Namespace) -> dict[str, Any]:
    """Run everything and return the figures."""
    rate_hz, size = FORMATS[args.codec]
    server = await Server.start(
        args.port,
        f"server.limits.max_active_contexts={args.connections + 64}",
        "engine.slots=256",
        f"engine.fake_step_ms={args.step_ms}",
        *args.set,
        module="bench.tones" if args.engine == "tones" else "server",
    )
    settings = {
        "format": {"codec": args.codec, "rate": rate_hz, "frame_ms": _FRAME_MS},
        "lead_ms": args.lead_ms,
    }
    url = server.url.replace("http", "ws") + "/v1/tts/ws"
    plan = Plan(url, settings, rate_hz, size, args.cancels)
    listeners = [Listener(plan, number) for number in range(args.connections)]
    until_s = time.monotonic() + plan.spread_s + args.settle + args.seconds
    connector = TCPConnector(limit=0)
    try:
        async with (
            ClientSession(connector=connector, timeout=ClientTimeout(sock_connect=30)) as session,
            asyncio.TaskGroup() as group,
        ):
            for listener in listeners:
                # Nobody stops by themselves: the drain ends it.
                group.create_task(listener.run(session, lambda: False))
            await asyncio.sleep(plan.spread_s + args.settle)
            before = Used.now(server, listeners)
            watch = QuietWatch(lambda: cpu_s(server.pids()))
            await asyncio.sleep(max(0.0, until_s - time.monotonic()))
            after = Used.now(server, listeners)
            others_share = watch.share()
            drained = await _drain(server, listeners)
    finally:
        await server.kill()
    heard = [one for listener in listeners for one in listener.heard]
    measured = [one for one in heard if before.at_s <= one.asked_s]
    return {
        "bench": "load",
        "setup": {
            **settings,
            "engine": args.engine,
            "step_ms": args.step_ms if args.engine == "fake" else 0,
            "connections": args.connections,
            "cancels": args.cancels,
        },
        "rates": rates(before, after),
        "others_share": others_share,
        **audio_figures(measured, rate_hz, args.lead_ms / 1000),
        "cancel": cancel_figures(measured),
        "drain": asdict(drained),
        "errors": sorted({one.error for one in heard if one.error}),
    }


async def _drain(server: Server, listeners: Sequence[Listener]) -> Drained:
    """Stop the server while everybody listens."""
    speaking = [one for one in (item.current for item in listeners) if one and one.packets]
    started_s = time.monotonic()
    status = await server.stop()
    seconds = time.monotonic() - started_s
    await asyncio.sleep(0.5)  # the last bytes of the sockets
    whole = sum(one.is_whole or one.confirmed_s is not None for one in speaking)
    codes = {listener.close_code for listener in listeners}
    return Drained(len(speaking), whole, seconds, status, tuple(sorted(codes, key=str)))


def rates(before: Used, after: Used) -> dict[str, float]:
    """Return what passed per second, and the CPU it took."""
    wall_s = after.at_s - before.at_s
    messages = after.messages - before.messages
    per_message_us = 1e6 / max(1, messages)
    return {
        "seconds": wall_s,
        "messages_per_s": messages / wall_s,
        "packets_per_s": (after.packets - before.packets) / wall_s,
        "gateway_cpu": (after.gateway_s - before.gateway_s) / wall_s,
        "engine_cpu": (after.others_s - before.others_s) / wall_s,
        "client_cpu": (after.client_s - before.client_s) / wall_s,
        "gateway_us_per_message": (after.gateway_s - before.gateway_s) * per_message_us,
        "client_us_per_message": (after.client_s - before.client_s) * per_message_us,
    }


def audio_figures(measured: Sequence[Heard], rate_hz: int, lead_s: float) -> dict[str, Any]:
    """Return first packets, gaps and underruns.

    Gaps are those between messages once the lead is filled: before, they come as fast as they are
    made. Far ahead of playback three packets share a message.
    """
    gaps: list[float] = []
    dry = stalls = 0
    stalled_s = 0.0
    spoken = [one for one in measured if one.packets]
    for one in spoken:
        heard_s = 0.0
        for last, packet in zip(one.packets, one.packets[1:], strict=False):
            heard_s += last.num_samples / rate_hz
            if heard_s > lead_s and packet.at_s != last.at_s:  # packets may share a message
                gaps.append(packet.at_s - last.at_s)
        pieces = [Piece(packet.at_s, packet.num_samples) for packet in one.packets]
        playout = play(pieces, rate_hz, BUFFER_S)
        dry += bool(playout.underruns)
        stalls += playout.underruns
        stalled_s += playout.stalled_s
    first = Quantiles.of([one.packets[0].at_s - one.asked_s for one in spoken])
    gap = Quantiles.of(gaps)
    return {
        "contexts": len(measured),
        "first_packet_s": first and asdict(first),
        "gap_s": gap and asdict(gap),
        "underruns": {
            "buffer_s": BUFFER_S, "contexts": dry, "gaps": stalls, "stalled_s": stalled_s,
        },
    }  # fmt: skip


def cancel_figures(measured: Sequence[Heard]) -> dict[str, Any]:
    """Return how soon cancelled contexts fell silent."""
    cancelled = [one for one in measured if one.cancelled_s and one.confirmed_s]
    last = [max(0.0, one.packets[-1].at_s - (one.cancelled_s or 0)) for one in cancelled]
    confirmed = [(one.confirmed_s or 0) - (one.cancelled_s or 0) for one in cancelled]
    last_byte, answer = Quantiles.of(last), Quantiles.of(confirmed)
    return {
        "n": len(cancelled),
        "last_byte_s": last_byte and asdict(last_byte),
        "confirmed_s": answer and asdict(answer),
        "messages_after_the_end": sum(one.after_end for one in measured),
    }


def verdict(figures: dict[str, Any]) -> list[str]:
    """Return what was missed; empty: nothing."""
    missed = []
    underruns, cancel, drain = figures["underruns"], figures["cancel"], figures["drain"]
    if underruns["gaps"]:
        missed.append(f"{underruns['contexts']} contexts ran dry with {BUFFER_S * 1000:.0f} ms")
    if cancel["n"] and cancel["last_byte_s"]["p95"] > MAX_CANCEL_S:
        missed.append(f"cancel to last byte p95 is over {MAX_CANCEL_S * 1000:.0f} ms")
    if cancel["messages_after_the_end"]:
        missed.append(f"{cancel['messages_after_the_end']} messages after a context's end")
    if drain["whole"] != drain["open_contexts"] or drain["exit_status"]:
        missed.append("the drain lost packets")
    # Contexts that were asked for while the server drained are refused, by name.
    others = [error for error in figures["errors"] if not error.startswith("draining")]
    return missed + others


def describe(figures: dict[str, Any]) -> str:
    """Return the figures as lines."""
    rate, gap, cancel = figures["rates"], figures["gap_s"], figures["cancel"]
    drain, underruns = figures["drain"], figures["underruns"]
    first = figures["first_packet_s"]
    lines = [
        f"{figures['setup']['connections']} connections, {rate['packets_per_s']:.0f} packets/s in "
        f"{rate['messages_per_s']:.0f} messages/s for {rate['seconds']:.0f} s, "
        f"{figures['contexts']} contexts begun",
        f"cores: gateway {rate['gateway_cpu']:.2f}, engine and frontend {rate['engine_cpu']:.2f}, "
        f"listeners {rate['client_cpu']:.2f}; per message: gateway "
        f"{rate['gateway_us_per_message']:.0f} us, listener {rate['client_us_per_message']:.0f} us",
        f"other processes used {figures['others_share']:.0%} of the machine",
        f"first packet p50 {_ms(first, 'p50')}, p95 {_ms(first, 'p95')}, max {_ms(first, 'max')}",
        f"gap between messages p50 {_ms(gap, 'p50')}, p99 {_ms(gap, 'p99')}, max {_ms(gap, 'max')}",
        f"underruns with {BUFFER_S * 1000:.0f} ms: {underruns['gaps']} in {underruns['contexts']} "
        f"contexts, {underruns['stalled_s'] * 1000:.0f} ms in all",
        f"cancel to last byte p50 {_ms(cancel['last_byte_s'], 'p50')}, p95 "
        f"{_ms(cancel['last_byte_s'], 'p95')}; to its answer p95 "
        f"{_ms(cancel['confirmed_s'], 'p95')} (n {cancel['n']})",
        f"drain: {drain['whole']} of {drain['open_contexts']} open contexts whole after "
        f"{drain['seconds']:.1f} s, status {drain['exit_status']}, close codes "
        f"{list(drain['close_codes'])}",
    ]
    return "\n".join(lines + [f"MISSED: {text}" for text in verdict(figures)])


def _ms(quantiles: dict[str, float] | None, name: str) -> str:
    return "-" if quantiles is None else f"{quantiles[name] * 1000:.1f} ms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds before that")
    parser.add_argument("--lead-ms", type=int, default=2000, help="sent ahead of playback")
    parser.add_argument("--codec", choices=FORMATS, default="mulaw")
    parser.add_argument("--cancels", type=float, default=0.25, help="share of contexts")
    parser.add_argument("--engine", choices=("tones", "fake"), default="fake")
    parser.add_argument("--step-ms", type=int, default=5, help="of the fake backend, for all rows")
    parser.add_argument("--port", type=int, default=8978)
    parser.add_argument("--set", action="append", default=[], help="a setting of the server")
    parser.add_argument("--json", type=Path, help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Load, print; status 1 when a target was missed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(load(args))
    print(describe(figures))
    if args.json:
        write_json(args.json, figures)
    return int(bool(verdict(figures)))
