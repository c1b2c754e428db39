"""What runs inside other people's environments."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np

from bench.decode import AudioFormat
from bench.rivals.engines import timed_main
from bench.rivals.hosts.library_host import as_pcm, handler
from bench.rivals.measure import part_seconds
from bench.targets.base import Line, TargetConfig
from bench.targets.connect import opener


def test_methods_and_generators_are_timed_and_the_program_gets_its_arguments(
    tmp_path: Path,
) -> None:
    """A call is a line, each step of a generator is one, and nothing else changes."""
    (tmp_path / "network.py").write_text(
        "import time\n"
        "class Network:\n"
        "    def step(self):\n"
        "        time.sleep(0.02)\n"
        "        return 1\n"
        "    def stream(self):\n"
        "        for _ in range(3):\n"
        "            time.sleep(0.01)\n"
        "            yield 1\n"
    )
    (tmp_path / "program.py").write_text(
        "import multiprocessing, sys\n"
        "from network import Network\n"
        "if __name__ == '__main__':\n"
        "    assert Network().step() == 1 and list(Network().stream()) == [1, 1, 1]\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    child = context.Process(target=Network().step)\n"
        "    child.start()\n"
        "    child.join()\n"
        "    print(sys.argv[1:], child.exitcode)\n"
    )
    log = tmp_path / "parts.jsonl"
    parts = {"t2s": ("network:Network.step",), "decoder": ("network:Network.stream",)}
    script = timed_main(parts, tmp_path, log)
    done = subprocess.run(
        ["env", f"PYTHONPATH={tmp_path}", sys.executable, script, "program", "-p", "80"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[0] == "['-p', '80'] 0"
    found = part_seconds(log, 0.0)
    assert found["t2s"]["calls"] == 2 and found["t2s"]["s"] >= 0.04  # here and in the child
    assert found["decoder"]["calls"] == 4 and found["decoder"]["s"] >= 0.03  # three and the end


def test_only_calls_since_a_time_are_counted(tmp_path: Path) -> None:
    """A warm-up is in no figure; no file means no parts."""
    log = tmp_path / "parts.jsonl"
    entries = [{"part": "t2s", "begun_s": at, "s": 0.5} for at in (1.0, 2.0, 3.0)]
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert part_seconds(log, 1.5) == {"t2s": {"calls": 2, "s": 1.0}}
    assert part_seconds(tmp_path / "none", 0.0) == {}


class Beeper:
    """A library that yields two pieces."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """See Speaker."""
        self.texts.append(text)
        for loudness in (0.1, 0.2):
            yield as_pcm(np.full(3200, loudness, np.float32))


async def test_a_library_is_reached_like_a_server() -> None:
    """Its pieces arrive whole and in order, and the request ends with them."""
    beeper = Beeper()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(beeper))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        config = TargetConfig(url, voice="a.wav", format=AudioFormat("pcm_s16le", 32000))
        session = await opener("api_v2", config)()
        recording = await session.speak(Line(("Hello.",)))
        await session.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert beeper.texts == ["Hello."] and recording.is_complete and not recording.error
    samples = np.frombuffer(b"".join(a.payload for a in recording.arrivals), "<i2")
    assert len(samples) == 6400 and samples[0] == 3277 and samples[-1] == 6553


def test_samples_over_full_scale_do_not_wrap() -> None:
    """They are clipped."""
    assert np.frombuffer(as_pcm(np.array([1.5, -2.0])), "<i2").tolist() == [32767, -32767]
