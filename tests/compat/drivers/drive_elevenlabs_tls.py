"""elevenlabs: the realtime socket as it is, with the TLS it insists on."""

from __future__ import annotations

from clips import PIECES, Clips
from elevenlabs.client import ElevenLabs


def main() -> None:
    """Speak."""
    clips = Clips()
    client = ElevenLabs(base_url=clips.url, api_key="k")
    pieces = client.text_to_speech.convert_realtime(
        voice_id="alloy", text=iter(PIECES), output_format="pcm_24000"
    )
    clips.add("realtime", b"".join(pieces), "pcm", 24000)
    clips.report()


if __name__ == "__main__":
    main()
