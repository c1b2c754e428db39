"""elevenlabs: convert, stream, realtime over the socket, voices and errors."""

from __future__ import annotations

from clips import PIECES, TEXT, Clips
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError


def main() -> None:
    """Speak."""
    clips = Clips()
    client = ElevenLabs(base_url=clips.url, api_key="k")
    voices = client.voices.search().voices
    clips.fact("voices", [voice.voice_id for voice in voices])
    voice = voices[0].voice_id
    speech = client.text_to_speech
    whole = speech.convert(voice_id=voice, text=TEXT, output_format="pcm_24000")
    clips.add("convert", b"".join(whole), "pcm", 24000)
    streamed = speech.stream(voice_id=voice, text=TEXT, output_format="mp3_44100_128")
    clips.add("stream", b"".join(streamed), "file")
    # The realtime URL is always wss; a server without TLS is reached by this attribute only.
    speech._ws_base_url = clips.ws
    for name, settings in (("plain", None), ("slow", VoiceSettings(speed=0.7))):
        pieces = speech.convert_realtime(
            voice_id=voice,
            text=iter(PIECES),
            model_id="eleven_flash_v2_5",
            output_format="pcm_24000",
            voice_settings=settings,
        )
        clips.add(f"realtime_{name}", b"".join(pieces), "pcm", 24000)
    pieces = speech.convert_realtime(
        voice_id="alloy", text=iter(PIECES), output_format="opus_48000_64"
    )
    clips.add("realtime_opus", b"".join(pieces), "file")
    try:
        b"".join(speech.convert(voice_id="nobody", text=TEXT))
    except ApiError as error:
        clips.fact("error", error.status_code)
    clips.report()


if __name__ == "__main__":
    main()
