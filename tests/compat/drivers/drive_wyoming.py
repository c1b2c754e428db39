"""wyoming: describe, a whole text, a text that streams in."""

from __future__ import annotations

import asyncio
import sys

from clips import PIECES, TEXT, Clips
from wyoming.audio import AudioChunk, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)


async def main() -> None:
    """Speak."""
    clips = Clips()
    async with AsyncTcpClient("127.0.0.1", int(sys.argv[3])) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        voice = info.tts[0].voices[0].name
        clips.fact("streaming", info.tts[0].supports_synthesize_streaming)
        await client.write_event(Synthesize(text=TEXT, voice=SynthesizeVoice(name=voice)).event())
        clips.add("whole", await audio(client, AudioStop), "pcm", 24000)
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name=voice)).event())
        for piece in PIECES:
            await client.write_event(SynthesizeChunk(text=piece).event())
        await client.write_event(Synthesize(text=TEXT).event())
        await client.write_event(SynthesizeStop().event())
        clips.add("streamed", await audio(client, SynthesizeStopped), "pcm", 24000)
    clips.report()


async def audio(client: AsyncTcpClient, last: type) -> bytes:
    """Return the audio up to an event."""
    data = b""
    while True:
        event = await client.read_event()
        assert event is not None
        if AudioChunk.is_type(event.type):
            data += AudioChunk.from_event(event).audio
        elif last.is_type(event.type):
            return data


if __name__ == "__main__":
    asyncio.run(main())
