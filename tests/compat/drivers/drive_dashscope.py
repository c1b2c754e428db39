"""dashscope: call, streaming calls with flush and cancel, errors."""

from __future__ import annotations

import dashscope
from clips import PIECES, TEXT, Clips
from dashscope.audio.tts_v2 import AudioFormat, ResultCallback, SpeechSynthesizer


class Keeper(ResultCallback):
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.data = b""
        self.calls: list[str] = []
        self.events = 0

    def on_open(self) -> None:
        """Note."""
        self.calls.append("open")

    def on_complete(self) -> None:
        """Note."""
        self.calls.append("complete")

    def on_event(self, message: str) -> None:
        """Count."""
        self.events += 1

    def on_data(self, data: bytes) -> None:
        """Keep."""
        self.data += data


def main() -> None:
    """Speak."""
    clips = Clips()
    dashscope.api_key = "k"
    url = f"{clips.ws}/api-ws/v1/inference"

    def synthesizer(
        audio: AudioFormat, voice: str = "alloy", **options: object
    ) -> SpeechSynthesizer:
        return SpeechSynthesizer(
            model="cosyvoice-v3", voice=voice, format=audio, url=url, **options
        )

    one = synthesizer(AudioFormat.PCM_24000HZ_MONO_16BIT)
    clips.add("call", one.call(TEXT), "pcm", 24000)
    clips.fact("first_package_delay_ms", one.get_first_package_delay())
    keeper = Keeper()
    two = synthesizer(AudioFormat.PCM_24000HZ_MONO_16BIT, callback=keeper)
    for piece in PIECES:
        two.streaming_call(piece)
    two.streaming_flush()
    two.streaming_complete()
    clips.add("streaming", keeper.data, "pcm", 24000)
    clips.fact("calls", keeper.calls)
    clips.fact("events", keeper.events)
    keeper = Keeper()
    three = synthesizer(AudioFormat.PCM_24000HZ_MONO_16BIT, callback=keeper)
    three.streaming_call(TEXT * 10)
    three.streaming_cancel()
    clips.fact("cancelled", keeper.calls)
    for name in (
        "WAV_24000HZ_MONO_16BIT",
        "MP3_24000HZ_MONO_256KBPS",
        "OGG_OPUS_24KHZ_MONO_32KBPS",
    ):
        clips.add(name, synthesizer(AudioFormat[name]).call(TEXT), "file")
    try:
        synthesizer(AudioFormat.DEFAULT, voice="nobody").call(TEXT)
    except Exception as error:
        clips.fact("error", str(error))
    clips.report()


if __name__ == "__main__":
    main()
