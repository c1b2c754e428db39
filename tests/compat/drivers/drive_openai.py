"""openai: speech in every format, streamed, as events, and its errors."""

from __future__ import annotations

import openai
from clips import TEXT, Clips


def main() -> None:
    """Speak."""
    clips = Clips()
    client = openai.OpenAI(base_url=f"{clips.url}/v1", api_key="not-needed", max_retries=0)
    speech = client.audio.speech
    num_chunks = 0
    data = b""
    with speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TEXT, response_format="pcm"
    ) as answer:
        for chunk in answer.iter_bytes(960):
            num_chunks += 1
            data += chunk
    clips.add("pcm", data, "pcm", 24000)
    clips.fact("chunks", num_chunks)
    for name in ("wav", "opus", "mp3", "flac"):
        with speech.with_streaming_response.create(
            model="tts-1", voice="nova", input=TEXT, response_format=name
        ) as answer:
            clips.add(name, answer.read(), "file")
            clips.fact(f"type_{name}", answer.headers["content-type"])
    clips.add("default", speech.create(model="tts-1", voice="echo", input=TEXT).read(), "file")
    with speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="sage",
        input=TEXT,
        response_format="pcm",
        stream_format="sse",
    ) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    clips.fact("sse_events", len(lines))
    clips.fact("sse_last", lines[-1])
    try:
        speech.create(model="tts-1", voice="nobody-at-all", input=TEXT)
    except openai.NotFoundError as error:
        clips.fact("error", error.code)
    clips.fact("models", [model.id for model in client.models.list()])
    clips.report()


if __name__ == "__main__":
    main()
