"""deepgram-sdk: the socket with Flush and Clear, and audio over HTTP."""

from __future__ import annotations

from clips import PIECES, TEXT, Clips
from deepgram import DeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from deepgram.speak.v1.types import SpeakV1Text


def main() -> None:
    """Speak."""
    clips = Clips()
    environment = DeepgramClientEnvironment(
        base=clips.url, production=clips.ws, agent=clips.ws, agent_rest=clips.url
    )
    client = DeepgramClient(api_key="k", environment=environment)
    kinds: list[str] = []
    data = b""
    with client.speak.v1.connect(
        model="alloy", encoding="linear16", sample_rate=24000
    ) as connection:
        for piece in PIECES:
            connection.send_text(SpeakV1Text(type="Speak", text=piece))
        connection.send_flush()
        while (message := connection.recv()) is not None:
            if isinstance(message, bytes):
                data += message
                continue
            kinds.append(message.type)
            if message.type == "Flushed":
                break
        clips.add("socket", data, "pcm", 24000)
        connection.send_text(SpeakV1Text(type="Speak", text=TEXT * 10))
        connection.send_clear()
        while True:
            message = connection.recv()
            if not isinstance(message, bytes):
                kinds.append(message.type)
                if message.type == "Cleared":
                    break
        connection.send_close()
    clips.fact("kinds", kinds)
    whole = client.speak.v1.audio.generate(
        text=TEXT, model="alloy", encoding="linear16", container="wav", sample_rate=24000
    )
    clips.add("wav", b"".join(whole), "file")
    clips.add("default", b"".join(client.speak.v1.audio.generate(text=TEXT)), "file")
    clips.report()


if __name__ == "__main__":
    main()
