"""A talk without a microphone: a scripted user asks, is answered, and interrupts.

    python -m clients.talk_command --url ws://127.0.0.1:8080 --out talk.wav

The answers are typed as a language model types them. When the user interrupts, playback stops and
the server says what had been heard: that, and not what was written, is the bot's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import wave
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from clients.command_line import EXIT_OK, add_server_arguments, complain
from clients.context import Context
from clients.errors import StreamError
from clients.events import AudioPacket, ContextCancelled, ContextDone, ContextStarted
from clients.save import SampleStream
from clients.stream_client import StreamClient

RATE_HZ = 24000
_BYTES_PER_S = 2 * RATE_HZ
_FORMAT = {"codec": "pcm_s16le", "rate": RATE_HZ}
_LEAD_MS = 800
_ACK_S = 0.2
_PAUSE_S = 0.4  # between two turns


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, what the bot would answer, and when it is interrupted, if it is."""

    user: str
    answer: str
    interrupted_s: float | None = None


SCRIPT = (
    Turn("Hello!", "Hello! Nice to hear from you. What can I do for you today?"),
    Turn(
        "Tell me how tea is made.",
        "First you boil fresh water. Then you put the leaves into a warm pot. After that you pour "
        "the water over them, and you wait for three minutes before you take the leaves out again.",
        interrupted_s=2.0,
    ),
    Turn("Stop. How long, in short?", "Three minutes."),
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One answer as the user heard it.

    Attributes:
        first_packet_ms: From the first token sent.
        audio: int16, what was played.
        heard: Of the answer's text.
    """

    first_packet_ms: float
    audio: bytes
    heard: str


async def answer(
    client: StreamClient, turn: Turn, tokens_per_s: float, voice: str | None
) -> Spoken:
    """Speak one answer and listen to it in real time."""
    context = await client.open(voice=voice, format=_FORMAT, lead_ms=_LEAD_MS, preempt="fade")
    started_s = time.monotonic()
    writer = asyncio.create_task(_write(context, turn.answer, tokens_per_s))
    listener: asyncio.Task[None] | None = None
    first_s, audio, heard, played_s = 0.0, b"", turn.answer, float("inf")
    samples: SampleStream | None = None
    try:
        async for event in context:
            match event:
                case ContextStarted():
                    samples = SampleStream(event)
                case AudioPacket() if samples is not None:
                    if listener is None:
                        first_s = time.monotonic()
                        listener = asyncio.create_task(_listen(context, turn.interrupted_s))
                    audio += samples.add(event)
                case ContextCancelled():
                    heard, played_s = event.text_spoken, event.played_ms / 1000
                case ContextDone() if samples is not None:
                    audio += samples.finish(event.total_samples48)
        rest_s = first_s + min(played_s, len(audio) / _BYTES_PER_S) - time.monotonic()
        await asyncio.sleep(max(0.0, rest_s))  # what has arrived still plays
    finally:
        for task in filter(None, (writer, listener)):
            task.cancel()
        await asyncio.gather(*filter(None, (writer, listener)), return_exceptions=True)
    if played_s < len(audio) / _BYTES_PER_S:
        audio = audio[: int(played_s * RATE_HZ) * 2]
    return Spoken((first_s - started_s) * 1000, audio, heard)


async def _write(context: Context, text: str, tokens_per_s: float) -> None:
    """Type the text a word at a time."""
    for number, word in enumerate(text.split(" ")):
        await context.send_text(f" {word}" if number else word)
        await asyncio.sleep(1 / tokens_per_s)
    await context.end()


async def _listen(context: Context, interrupted_s: float | None) -> None:
    """Say how far playback is; interrupt when it is time."""
    began_s = time.monotonic()
    while not context.is_over:
        await asyncio.sleep(_ACK_S)
        played_s = time.monotonic() - began_s
        if interrupted_s is not None and played_s >= interrupted_s:
            await context.cancel(played_ms=played_s * 1000)
            return
        await context.ack(played_s * 1000)


async def talk(args: argparse.Namespace) -> list[Spoken]:
    """Have the whole of SCRIPT and print it."""
    spoken = []
    async with StreamClient(args.url, args.token) as client:
        if client.ready.notice:
            print(f"note: {client.ready.notice}", file=sys.stderr)
        for turn in SCRIPT:
            print(f"user  {turn.user}")
            one = await answer(client, turn, args.tokens_per_s, args.voice)
            spoken.append(one)
            print(f"bot   {one.heard}  [first packet {one.first_packet_ms:.0f} ms]")
            unheard = turn.answer.removeprefix(one.heard).strip()
            if unheard:
                print(f"      (interrupted; not heard: {unheard})")
    return spoken


def _save(path: str, spoken: Sequence[Spoken]) -> None:
    pause = bytes(2 * int(RATE_HZ * _PAUSE_S))
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pause.join(one.audio for one in spoken))


def main(arguments: Sequence[str] | None = None) -> int:
    """Talk; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_server_arguments(parser)
    parser.add_argument("--voice")
    parser.add_argument("--tokens-per-s", type=float, default=15.0, help="how fast answers come")
    parser.add_argument("--out", help="WAV of what the user heard")
    args = parser.parse_args(arguments)
    with suppress(KeyboardInterrupt):
        try:
            spoken = asyncio.run(talk(args))
        except (StreamError, OSError) as error:
            return complain(error)
        if args.out:
            _save(args.out, spoken)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
