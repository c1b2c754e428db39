"""Many sessions for a long time: does anything grow, and does everybody hear their own voice?

Starts a server on the fake backend, whose audio says which sentence, token and voice it is: every
context's samples are compared with what that text in that voice must be, so a packet of another
voice, a lost, repeated or swapped one is heard, whatever its number says. Some contexts are
cancelled, some connections are cut without a word. The server's memory, threads, file descriptors
and tasks are read all along.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from bench.environment import write_json
from bench.listeners import WORDS
from bench.processes import descendants
from clients.errors import StreamError
from clients.events import AudioPacket, ContextCancelled, ContextDone, SegmentStarted
from clients.stream_client import StreamClient
from engine.backends.fake import FakeScript, expected_tokens, fake_voices, tone
from engine.text.frontend import Frontend
from engine.types import FloatArray, Language

RATE_HZ, HOP = 32000, 640  # of the fake backend; sent as it is, so samples can be compared
NUM_VOICES = 2  # that the server's fake backend has
MOST_DRIFT = 0.02  # of the memory


@dataclass(slots=True)
class Tally:
    """What happened to the contexts."""

    done: int = 0
    cancelled: int = 0
    cut: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)
    audio_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The server's processes at one moment."""

    at_s: float
    rss_mb: float
    threads: int
    fds: int
    tasks: int
    contexts: int


class Expectation:
    """What the fake backend must say."""

    def __init__(self) -> None:
        self._frontend = Frontend("v2")
        self._voices = fake_voices(NUM_VOICES)

    def speech(self, text: str, voice: str) -> FloatArray:
        """Return the samples of one sentence without its pause, float32 [N]."""
        phonemes = self._frontend.phonemize(text, Language.EN)
        style = self._voices[voice].styles["default"]
        ids = np.concatenate([style.prompt_phoneme_ids, phonemes.ids])
        if not len(phonemes.ids):
            return np.zeros(0, np.float32)
        tokens = expected_tokens(ids, style.prompt_tokens, FakeScript())
        return np.concatenate([tone(int(token), HOP, RATE_HZ) for token in tokens])


class Listener:
    """One session: speaks again and again and checks what it hears."""

    def __init__(self, url: str, number: int, tally: Tally, expectation: Expectation) -> None:
        self._url = url
        self._dice = random.Random(number)
        self._tally = tally
        self._expectation = expectation

    async def run(self, until_s: float, *, cancels: float, cuts: float) -> None:
        """Go on until the monotonic clock says `until_s`."""
        while time.monotonic() < until_s:
            client = StreamClient(self._url, reconnect_attempts=0)
            try:
                async with client:
                    while time.monotonic() < until_s:
                        chance = self._dice.random()
                        if chance < cuts:
                            await self._cut(client)
                            break
                        await self._speak(client, cancel=chance < cuts + cancels)
            except StreamError as error:
                self._tally.failed += 1
                self._tally.wrong.append(f"session failed: {error}")
                await asyncio.sleep(0.5)

    def _sentence(self) -> str:
        count = self._dice.randint(2, 8)
        return " ".join(self._dice.choice(WORDS) for _ in range(count)).capitalize() + "."

    async def _speak(self, client: StreamClient, *, cancel: bool) -> None:
        voice = self._dice.choice(sorted(fake_voices(NUM_VOICES)))
        context = await client.open(
            voice=voice,
            lang="en",
            format={"codec": "pcm_s16le", "rate": RATE_HZ, "frame_ms": 20},
            lead_ms=1500,
        )
        text = " ".join(self._sentence() for _ in range(self._dice.randint(1, 3)))
        await context.send_text(text)
        await context.end()
        stop_after = self._dice.randint(1, 60) if cancel else None
        pieces: list[bytes] = []
        segments: list[tuple[str, int]] = []
        async for event in context:
            match event:
                case AudioPacket():
                    pieces.append(event.payload)
                    if stop_after is not None and len(pieces) == stop_after:
                        await context.cancel()
                case SegmentStarted():
                    segments.append((event.text, event.pts))
                case ContextDone():
                    self._tally.done += 1
                    if "".join(part for part, _ in segments) != text:
                        self._tally.wrong.append(f"text changed: {segments} for {text!r}")
                case ContextCancelled():
                    self._tally.cancelled += 1
        heard = np.frombuffer(b"".join(pieces), "<i2").astype(np.float32)
        heard /= np.float32(32768)
        self._tally.audio_s += len(heard) / RATE_HZ
        self._check(heard, voice, segments)

    def _check(
        self,
        heard: FloatArray,
        voice: str,
        segments: Sequence[tuple[str, int]],
    ) -> None:
        """Compare samples with what each segment must be; what was cut off is not missed."""
        expected = np.zeros(len(heard) + RATE_HZ, np.float32)
        starts = [pts * 2 // 3 for _, pts in segments]  # of the 48 kHz clock
        for (text, _), start in zip(segments, starts, strict=True):
            speech = self._expectation.speech(text, voice)[: max(0, len(expected) - start)]
            expected[start : start + len(speech)] = speech
        if len(heard) and np.abs(heard - expected[: len(heard)]).max() > 2e-4:
            first = int(np.argmax(np.abs(heard - expected[: len(heard)]) > 2e-4))
            self._tally.wrong.append(f"sample {first} of {segments} in {voice} is another's")

    async def _cut(self, client: StreamClient) -> None:
        """Break the connection in the middle of an utterance, as a lost network does."""
        context = await client.open(lang="en", format={"codec": "pcm_s16le", "rate": RATE_HZ})
        await context.send_text(" ".join(self._sentence() for _ in range(3)))
        await context.end()
        async for event in context:
            if isinstance(event, AudioPacket):
                break
        client.abort()
        self._tally.cut += 1


class Server:
    """A server process and its children."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    @classmethod
    async def start(cls, port: int, *settings: str, module: str = "server") -> Server:
        """Start it, with settings as `--set` takes them, and wait until it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, "--port", str(port),
            "--set", "engine.backend=fake", "--set", "log.level=warning",
            "--set", "server.limits.measured_capacity=false",  # late is measured, not refused
            *(word for setting in settings for word in ("--set", setting)),
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        server = cls(process, f"http://127.0.0.1:{port}")
        for _ in range(300):
            await asyncio.sleep(0.2)
            try:
                await asyncio.to_thread(server.get, "/readyz")
                return server
            except OSError:
                if process.returncode is not None:
                    break
        raise RuntimeError(f"the server did not become ready (status {process.returncode})")

    def get(self, path: str) -> str:
        """Return the body of a GET."""
        with urllib.request.urlopen(self.url + path, timeout=5) as response:
            body: bytes = response.read()
        return body.decode()

    def sample(self, at_s: float) -> Sample:
        """Read all processes' counters."""
        metrics = self.get("/metrics")
        rss = threads = fds = 0
        for pid in self.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            rss += _number(r"^VmRSS:\s+(\d+)", status)
            threads += _number(r"^Threads:\s+(\d+)", status)
            fds += len(os.listdir(f"/proc/{pid}/fd"))
        return Sample(
            round(at_s, 1), rss / 1024, threads, fds,
            _number(r"^asyncio_tasks (\d+)", metrics),
            _number(r"^tts_active_contexts (\d+)", metrics),
        )  # fmt: skip

    def pids(self) -> list[int]:
        """Return its processes, the one with the event loop first."""
        return descendants(self.process.pid)

    async def stop(self) -> int:
        """Ask it to end and return its status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60)

    async def kill(self) -> None:
        """End it if it still runs."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text, re.MULTILINE)
    return int(float(match[1])) if match else 0


async def soak(
    *, minutes: float, sessions: int, cancels: float, cuts: float, port: int
) -> tuple[Tally, list[Sample], int]:
    """Run the sessions and return what they heard, the samples and the server's exit status."""
    server = await Server.start(port)
    tally, expectation = Tally(), Expectation()
    started = time.monotonic()
    until = started + minutes * 60
    url = server.url.replace("http", "ws")
    samples: list[Sample] = []
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(sessions):
                listener = Listener(url, number, tally, expectation)
                group.create_task(listener.run(until, cancels=cancels, cuts=cuts))
            while time.monotonic() < until:
                await asyncio.sleep(min(10.0, minutes * 6))
                samples.append(await asyncio.to_thread(server.sample, time.monotonic() - started))
    finally:
        await asyncio.sleep(2.0)
        samples.append(await asyncio.to_thread(server.sample, time.monotonic() - started))
        status = await server.stop()
    return tally, samples, status


def drift(samples: Sequence[Sample], minutes: float) -> float:
    """Return how much memory grew from the first third's to the last third's median, as a share."""
    before, after = _ends(samples, minutes, "rss_mb")
    return after / before - 1


def growth(samples: Sequence[Sample], minutes: float) -> list[str]:
    """Return what grew that must be flat, in words; what was sampled at the end is not counted."""
    grown = []
    if abs(drift(samples, minutes)) >= MOST_DRIFT:
        grown.append(f"memory by {drift(samples, minutes):+.2%}")
    for name, slack in (("threads", 0), ("fds", 2), ("tasks", 8)):  # a session has some 7 tasks
        before, after = _ends(samples[:-1] or samples, minutes, name)
        if after > before + slack:
            grown.append(f"{name} from {before:g} to {after:g}")
    return grown


def _ends(samples: Sequence[Sample], minutes: float, name: str) -> tuple[float, float]:
    """Return a counter's median in the first and the last third, without the start."""
    settled = [s for s in samples if s.at_s > minutes * 60 * 0.1] or list(samples)
    third = max(1, len(settled) // 3)
    first, last = (
        float(np.median([getattr(sample, name) for sample in part]))
        for part in (settled[:third], settled[-third:])
    )
    return first, last


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--cancels", type=float, default=0.20, help="share of contexts")
    parser.add_argument("--cuts", type=float, default=0.05, help="share of contexts")
    parser.add_argument("--port", type=int, default=8977)
    parser.add_argument("--json", type=Path, help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Soak and print a verdict; status 1 when anything was wrong."""
    tally, samples, status = asyncio.run(
        soak(
            minutes=args.minutes,
            sessions=args.sessions,
            cancels=args.cancels,
            cuts=args.cuts,
            port=args.port,
        )
    )
    share, grown = drift(samples, args.minutes), growth(samples, args.minutes)
    last, settled = samples[-1], samples[min(len(samples) - 1, 2)]
    print(
        f"{tally.done} contexts done, {tally.cancelled} cancelled, {tally.cut} cut off, "
        f"{tally.failed} failed; {tally.audio_s / 3600:.2f} h of audio checked\n"
        f"memory {settled.rss_mb:.0f} -> {last.rss_mb:.0f} MB, drift {share:+.2%}; threads "
        f"{settled.threads} -> {last.threads}, descriptors {settled.fds} -> {last.fds}, tasks "
        f"{settled.tasks} -> {last.tasks}, open contexts at the end {last.contexts}\n"
        f"grew: {', '.join(grown) or 'nothing'}\n"
        f"wrong samples, text or sessions: {len(tally.wrong)}; server exit status {status}"
    )
    for line in tally.wrong[:10]:
        print("  " + line)
    if args.json:
        figures = {
            "minutes": args.minutes,
            "sessions": args.sessions,
            "tally": asdict(tally),
            "rss_drift": share,
            "grew": grown,
            "samples": [asdict(sample) for sample in samples],
            "exit_status": status,
        }
        write_json(args.json, figures)
    return int(bool(tally.wrong or grown) or last.contexts > 0 or status != 0)
