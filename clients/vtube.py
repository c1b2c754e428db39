"""Speak through a running server and move the mouth of a VTube Studio avatar to it.

    sovits-live vtube "Hello, everyone." --play
    some-llm | sovits-live vtube - --play

VTube Studio asks its user once to allow the plugin. The parameter MouthOpen is set 30 times a
second from the level of what sounds.

Exit status: 0 spoken, 1 a server or VTube Studio refused, 2 bad arguments, 3 no connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from clients.command_line import (
    EXIT_OK,
    EXIT_SERVER,
    add_server_arguments,
    add_voice_arguments,
    complain,
)
from clients.context import Context
from clients.errors import SessionLost, StreamError
from clients.events import AudioPacket, ContextDone, ContextStarted, Timing
from clients.lips import LipTrack
from clients.play import Player
from clients.save import SampleStream
from clients.say import deltas
from clients.stream_client import StreamClient
from clients.vtube_studio import URL, VtubeStudio, VtubeStudioError

_TOKEN_PATH = Path("~/.config/sovits-live/vtube-studio-token")
_FRAME_S = 1 / 30
_CODEC = {"codec": "pcm_s16le", "rate": 24000}  # decodes anywhere; this is not for far away


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("text", help="what to say; - reads it from standard input as it comes")
    add_server_arguments(parser)
    add_voice_arguments(parser)
    parser.add_argument("--speed", type=float, help="0.5 to 2.0")
    parser.add_argument("--play", action="store_true", help="play it; else only the mouth moves")
    parser.add_argument(
        "--delay-ms", type=float, default=80.0, help="of the sound after its packets (default: 80)"
    )
    parser.add_argument("--studio", default=URL, help=f"VTube Studio (default: {URL})")
    parser.add_argument("--token-file", type=Path, default=_TOKEN_PATH, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    try:
        if not args.text.strip():
            raise ValueError("the text is empty")
        asyncio.run(_perform(args))
    except VtubeStudioError as error:
        complain(error)
        return EXIT_SERVER
    except (ValueError, StreamError, OSError) as error:
        return complain(error)
    return EXIT_OK


async def _perform(args: argparse.Namespace) -> None:
    settings: dict[str, Any] = {
        name: getattr(args, name) for name in ("voice", "style", "lang", "speed")
    }
    async with (
        VtubeStudio(args.studio, args.token_file.expanduser()) as studio,
        StreamClient(args.url, args.token) as client,
    ):
        context = await client.open(**settings, format=_CODEC, timings=["rms"])
        sender = asyncio.create_task(_send(context, args.text), name="vtube-sender")
        try:
            await MouthBridge(studio, is_played=args.play, delay_s=args.delay_ms / 1000).run(
                context
            )
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, SessionLost):
                await sender


async def _send(context: Context, text: str) -> None:
    async for delta in deltas(text):
        await context.send_text(delta)
    await context.end()


class MouthBridge:
    """Follows one context: plays it if wanted, and sets the mouth to what sounds.

    Args:
        delay_s: From the first packet until it sounds.
    """

    def __init__(self, studio: VtubeStudio, *, is_played: bool, delay_s: float) -> None:
        self._studio = studio
        self._is_played = is_played
        self._delay_s = delay_s
        self._track = LipTrack()
        self._started_s: float | None = None  # when the first packet came
        self._has_all = False

    async def run(self, context: Context) -> None:
        """Follow the context until its last sound; the mouth is closed then."""
        mouth = asyncio.create_task(self._move(), name="vtube-mouth")
        try:
            await self._receive(context)
            self._has_all = True
            await mouth
        finally:
            mouth.cancel()
            await asyncio.wait([mouth])
            await self._studio.set_parameter(0.0)

    async def _receive(self, context: Context) -> None:
        stream: SampleStream | None = None
        player: Player | None = None
        rate_hz = 0
        try:
            async for event in context:
                if isinstance(event, ContextStarted):
                    stream, rate_hz = SampleStream(event), event.rate
                    if self._is_played:
                        player = await Player.start(event)
                elif isinstance(event, AudioPacket) and stream is not None:
                    if self._started_s is None:
                        self._started_s = time.monotonic()
                    self._track.add_samples(stream.add(event), rate_hz)
                    if player is not None:
                        await player.add(event)
                elif isinstance(event, Timing) and event.rms:
                    self._track.add_timing(event.pts, event.rms)
                elif isinstance(event, ContextDone) and stream is not None:
                    self._track.add_samples(stream.finish(event.total_samples48), rate_hz)
                    self._has_all = True
                    if player is not None:
                        await player.close(event.total_samples48)
        finally:
            if player is not None:
                await player.stop()

    async def _move(self) -> None:
        """Set the mouth until everything has sounded."""
        while True:
            now_s = -1.0
            if self._started_s is not None:
                now_s = time.monotonic() - self._started_s - self._delay_s
            if self._has_all and (self._started_s is None or now_s > self._track.duration_s):
                return
            await self._studio.set_parameter(self._track.openness_at(now_s))
            await asyncio.sleep(_FRAME_S)
