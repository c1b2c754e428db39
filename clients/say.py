"""Speak a text through a running server, and save or play it while it arrives.

    sovits-live say "Hello." --out hello.wav
    some-llm | sovits-live say - --play
    sovits-live say "Hello." --out - | aplay

Prints the time from sending the first text to the first packet, and how fast the audio came.
Exit status: 0 spoken, 1 the server reported an error, 2 bad arguments, a text without a word, or
nothing to decode or play with, 3 no connection.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from clients.command_line import EXIT_OK, add_server_arguments, add_voice_arguments, complain
from clients.context import Context
from clients.errors import NothingToSpeak, SessionLost, StreamError
from clients.events import (
    CLOCK_HZ,
    AudioPacket,
    ContextDone,
    ContextStarted,
    SegmentStarted,
    Warned,
)
from clients.play import PLAYABLE_CODECS, Player
from clients.save import STDOUT, PacketSink, check_target, open_sink
from clients.stream_client import StreamClient

_READ_BYTES = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("text", help="what to say; - reads it from standard input as it comes")
    add_server_arguments(parser)
    add_voice_arguments(parser)
    parser.add_argument("--speed", type=float, help="0.5 to 2.0")
    parser.add_argument("--seed", type=int, help="same seed, same audio")
    parser.add_argument("--out", help="*.wav, *.opus, *.ogg, or - for WAV on standard output")
    parser.add_argument("--play", action="store_true", help="play it while it arrives")
    parser.add_argument(
        "--codec",
        default="opus",
        choices=("opus", "pcm_s16le", "mulaw", "alaw"),
        help="on the wire",
    )
    parser.add_argument("--rate", type=int, help="sample rate of the codec, in Hz")
    parser.add_argument("--bitrate", type=int, help="of Opus, in bit/s")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    try:
        _check(args)
        return asyncio.run(_say(args))
    except (ValueError, StreamError, OSError) as error:
        return complain(error)


def _check(args: argparse.Namespace) -> None:
    if not args.text.strip():
        raise ValueError("the text is empty")
    if args.out is not None:
        check_target(args.out, args.codec)
    if args.play and args.codec not in PLAYABLE_CODECS:
        raise ValueError(f"--play needs --codec {' or '.join(PLAYABLE_CODECS)}")


@dataclass(slots=True)
class _Figures:
    """What is measured, on the client's monotonic clock."""

    started_s: float = 0.0  # when the first text was sent
    first_packet_s: float | None = None
    num_packets: int = 0
    num_bytes: int = 0

    def add(self, packet: AudioPacket) -> None:
        if self.first_packet_s is None:
            self.first_packet_s = time.monotonic()
        self.num_packets += 1
        self.num_bytes += len(packet.payload)

    def lines(self, done: ContextDone) -> Iterator[str]:
        audio_s = done.total_samples48 / CLOCK_HZ
        took_s = time.monotonic() - self.started_s
        if self.first_packet_s is None:
            return
        first_ms = (self.first_packet_s - self.started_s) * 1000
        yield f"first packet after {first_ms:.0f} ms"
        yield (
            f"{audio_s:.2f} s of audio in {took_s:.2f} s (RTF {took_s / audio_s:.3f}),"
            f" {self.num_packets} packets, {self.num_bytes * 8 / audio_s / 1000:.1f} kbit/s"
        )
        if "rtf" in done.timings:
            yield f"RTF of the server {done.timings['rtf']:.3f}"


async def _say(args: argparse.Namespace) -> int:
    figures = _Figures()
    async with StreamClient(args.url, args.token) as client:
        context = await client.open(**_settings(args))
        sender = asyncio.create_task(_send(context, args.text, figures), name="say-sender")
        try:
            done = await _receive(context, args, figures)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender
    if not args.quiet and done is not None:
        if client.ready.notice:
            print(f"note: {client.ready.notice}", file=sys.stderr)
        for line in figures.lines(done):
            print(line, file=sys.stderr if args.out == STDOUT else sys.stdout)
        if args.out is None and not args.play:
            print("note: not kept and not played: add --out hello.wav or --play", file=sys.stderr)
    return EXIT_OK


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    names = ("voice", "style", "lang", "speed", "seed")
    settings = {name: getattr(args, name) for name in names}
    audio = {"codec": args.codec, "rate": args.rate, "bitrate": args.bitrate}
    settings["format"] = {name: value for name, value in audio.items() if value is not None}
    if not args.play:
        settings["lead_ms"] = 0  # nobody listens in real time
    return settings


async def _send(context: Context, text: str, figures: _Figures) -> None:
    try:
        async for delta in deltas(text):
            if not figures.started_s:
                figures.started_s = time.monotonic()
            await context.send_text(delta)
        await context.end()
    except SessionLost:
        pass  # the receiver learns it too and says so


async def deltas(text: str) -> AsyncIterator[str]:
    """Yield the text, or what comes in on standard input as soon as it does."""
    if text != "-":
        yield text
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    descriptor = sys.stdin.fileno()
    while True:
        data = await _read(descriptor)
        delta = decoder.decode(data, final=not data)
        if delta:
            yield delta
        if not data:
            return


async def _read(descriptor: int) -> bytes:
    """Return the next bytes, b"" at the end; a read that goes on keeps nothing from ending."""
    future: Future[bytes] = Future()
    future.set_running_or_notify_cancel()  # whoever waited may be gone when it returns

    def read() -> None:
        try:
            future.set_result(os.read(descriptor, _READ_BYTES))
        except OSError as error:
            future.set_exception(error)

    threading.Thread(target=read, name="say-stdin", daemon=True).start()
    return await asyncio.wrap_future(future)


async def _receive(
    context: Context, args: argparse.Namespace, figures: _Figures
) -> ContextDone | None:
    """Save and play what comes until the context ends.

    Raises:
        NothingToSpeak: No segment came. The server sends a moment of silence then, for clients that
            take a context without audio for a failure; that is neither kept nor played.
    """
    output = _Output(args)
    done: ContextDone | None = None
    has_segment = False
    try:
        async for event in context:
            if isinstance(event, ContextStarted):
                await output.start(event)
            elif isinstance(event, SegmentStarted):
                has_segment = True
            elif isinstance(event, AudioPacket) and has_segment:
                figures.add(event)
                await output.add(event)
            elif isinstance(event, Warned):
                print(f"warning: {event.code}: {event.detail}", file=sys.stderr)
            elif isinstance(event, ContextDone):
                if not has_segment or not event.total_samples48:
                    raise NothingToSpeak(f"nothing to speak in {_shown(args.text)}")
                done = event
    finally:
        await output.close(None if done is None else done.total_samples48)
    return done


def _shown(text: str) -> str:
    return "what standard input gave" if text == "-" else f"text {text!r:.60}"


class _Output:
    """The file and the player, as far as they are wanted."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._target: str | None = args.out
        self._is_played: bool = args.play
        self._stack = AsyncExitStack()
        self._started: ContextStarted | None = None
        self._sink: PacketSink | None = None
        self._player: Player | None = None

    async def start(self, started: ContextStarted) -> None:
        """Start the player, anew after a reconnection: no packet came before it."""
        await self._stack.aclose()
        self._started = started
        if self._is_played:
            self._player = await Player.start(started)
            self._stack.push_async_callback(self._player.stop)

    async def add(self, packet: AudioPacket) -> None:
        if self._sink is None and self._target is not None and self._started is not None:
            # Only now: a refused text leaves the file of that name as it was.
            stream = self._stack.enter_context(_opened(self._target))
            self._sink = open_sink(stream, self._target, self._started)
        if self._sink is not None:
            self._sink.add(packet)
        if self._player is not None:
            await self._player.add(packet)

    async def close(self, total_samples48: int | None) -> None:
        """Finish the file; play out if the context ended well, else be silent at once."""
        async with self._stack:
            if self._sink is not None:
                self._sink.close(total_samples48)
            if self._player is not None and total_samples48 is not None:
                await self._player.close(total_samples48)


@contextmanager
def _opened(target: str) -> Iterator[IO[bytes]]:
    if target == STDOUT:
        yield sys.stdout.buffer
        return
    with open(target, "wb") as stream:
        yield stream
