"""A library's own streaming call behind one HTTP address, so that one client measures everybody.

It runs in the interpreter of the package: only the standard library and that package are there.
`POST /tts` with `{"text": ...}` is answered by raw 16-bit PCM at 32 kHz, piece by piece as the
library yields them. Whatever the library does about callers at once is its own affair.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


class Speaker(Protocol):
    """One package, loaded and given its reference."""

    def speak(self, text: str) -> AsyncIterator[bytes]:
        """Yield audio as the package does."""
        ...


class GsvTtsLite:
    """gsv-tts-lite: `TTS.infer_stream_async`, which lets one caller in; chunks as it sets them."""

    def __init__(self, args: argparse.Namespace) -> None:
        package = importlib.import_module("gsv_tts")
        self._tts: Any = package.TTS(models_dir=args.data, device="cpu")
        self._tts.load_gpt_model(args.gpt)
        self._tts.load_sovits_model(args.sovits)
        self._args = args

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """See Speaker."""
        args = self._args
        clips = self._tts.infer_stream_async(
            args.reference,
            args.reference,
            args.reference_text,
            text,
            text_language="en",
            prompt_language="en",
            cut_mute=0.0,  # silence is no speed
            debug=False,
        )
        async for clip in clips:
            yield as_pcm(clip.audio_data)


class GenieTts:
    """genie-tts: `tts_async`, which yields whole sentences."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._genie: Any = importlib.import_module("genie_tts")
        self._genie.load_character("bench", args.converted, "en")
        self._genie.set_reference_audio("bench", args.reference, args.reference_text, "en")

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """See Speaker."""
        async for chunk in self._genie.tts_async("bench", text, split_sentence=True):
            yield chunk


SPEAKERS: dict[str, Callable[[argparse.Namespace], Speaker]] = {
    "gsv-tts-lite": GsvTtsLite,
    "genie-tts": GenieTts,
}


def as_pcm(samples: Any) -> bytes:
    """Return floats as 16-bit little-endian."""
    data: bytes = (32767 * samples.clip(-1, 1)).round().astype("<i2").tobytes()
    return data


def handler(speaker: Speaker) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Speak the text, a chunk a piece."""
            size = int(self.headers["Content-Length"])
            text = json.loads(self.rfile.read(size))["text"]
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            asyncio.run(self._send(text))
            self.wfile.write(b"0\r\n\r\n")

        async def _send(self, text: str) -> None:
            async for piece in speaker.speak(text):
                if piece:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


def main() -> None:
    """Load and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("package", choices=SPEAKERS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--reference-text", required=True)
    parser.add_argument("--gpt")
    parser.add_argument("--sovits")
    parser.add_argument("--data")
    parser.add_argument("--converted")
    args = parser.parse_args()
    speaker = SPEAKERS[args.package](args)
    ThreadingHTTPServer(("127.0.0.1", args.port), handler(speaker)).serve_forever()


if __name__ == "__main__":
    main()
