"""What a driver hands back: files of audio, and facts. Runs in the SDKs' venv."""

from __future__ import annotations

import json
import sys
from pathlib import Path

TEXT = "Hello there, this is a test. It has two sentences."
PIECES = ("Hello there, ", "this is a test. ", "It has ", "two sentences.")


class Clips:
    """Collects what an SDK received."""

    def __init__(self) -> None:
        self.url = sys.argv[1]  # http://host:port
        self.ws = self.url.replace("http", "ws", 1)
        self._folder = Path(sys.argv[2])
        self._clips: list[dict[str, object]] = []
        self._facts: dict[str, object] = {}

    def add(self, name: str, data: bytes, kind: str, rate_hz: int = 0) -> None:
        """Keep audio: kind is pcm, float, mulaw, or file for what says itself what it is."""
        path = self._folder / f"{name}.{kind}"
        path.write_bytes(data)
        self._clips.append({"name": name, "path": str(path), "kind": kind, "rate_hz": rate_hz})

    def fact(self, name: str, value: object) -> None:
        """Keep something to be checked."""
        self._facts[name] = value

    def report(self) -> None:
        """Print everything for the test."""
        print(json.dumps({"clips": self._clips, "facts": self._facts}))
