"""cartesia: contexts on one socket, timestamps, cancel, bytes over HTTP."""

from __future__ import annotations

from cartesia import Cartesia
from clips import PIECES, TEXT, Clips

_RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}


def main() -> None:
    """Speak."""
    clips = Clips()
    client = Cartesia(api_key="k", base_url=clips.url, websocket_base_url=clips.ws)
    with client.tts.websocket_connect() as connection:
        context = connection.context(
            model_id="sonic-3", voice="alloy", output_format=_RAW, add_timestamps=True
        )
        for piece in PIECES:
            context.push(piece)
        context.no_more_inputs()
        data, words, last = b"", [], ""
        for event in context.receive():
            last = event.type
            if event.type == "chunk":
                data += event.audio or b""
            elif event.type == "timestamps":
                words += event.word_timestamps.words
        clips.add("context", data, "pcm", 24000)
        clips.fact("words", words)
        clips.fact("last", last)
        dropped = connection.context(model_id="sonic-3", voice="alloy", output_format=_RAW)
        dropped.push(TEXT * 10)
        dropped.cancel()
        default = connection.context(model_id="sonic-3", voice="alloy")
        default.push(TEXT, continue_=False)
        data = b"".join(e.audio or b"" for e in default.receive() if e.type == "chunk")
        clips.add("float", data, "float", 44100)
    with client.tts.with_streaming_response.generate(
        model_id="sonic-3",
        transcript=TEXT,
        voice={"mode": "id", "id": "alloy"},
        output_format={"container": "wav", "encoding": "pcm_s16le", "sample_rate": 24000},
    ) as answer:
        clips.add("bytes", answer.read(), "file")
    clips.report()


if __name__ == "__main__":
    main()
