"""Speak the lines of a script so that each fits its place, and put them on one track."""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from clients.events import AudioPacket, ContextDone, ContextStarted
from clients.loudness import RATE_HZ, FloatArray, loudness_lufs, set_loudness
from clients.save import SampleStream
from clients.stream_client import StreamClient
from clients.subtitles import Cue

Speak: TypeAlias = Callable[[str, float], Awaitable[FloatArray]]  # (text, speed) -> samples

MIN_GAP_S = 0.05  # between two lines
_MAX_TAKES = 3  # of a line, the first at the usual speed included
_FULL = 0.85  # of its place: a line that fills so much is not slowed down
_TOLERANCE = 0.02  # of its place, too long
_SPEED_STEP = 0.01
_FULL_SCALE = 32767
_SILENCE = 10 ** (-50 / 20)  # below is silence: 50 dB under full scale
_KEPT_S = 0.04  # of silence on each side


@dataclass(frozen=True, slots=True)
class FitLimits:
    """Speeds a line may be spoken at: as it comes, and at the slowest and fastest."""

    usual: float = 1.0
    slowest: float = 0.8
    fastest: float = 1.4

    def __post_init__(self) -> None:
        if not 0.5 <= self.slowest <= self.usual <= self.fastest <= 2.0:
            given = f"{self.slowest}, {self.usual}, {self.fastest}"
            raise ValueError(f"slowest, usual, fastest speed are {given}, valid: 0.5 to 2, rising")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is done; `duration_s` is 0 where there is nothing to say."""

    number: int
    key: str  # of everything it was made from
    file: str
    speed: float
    duration_s: float
    lufs: float


class Voice:
    """Speaks through a session.

    Args:
        settings: As StreamClient.open takes them, without speed.
    """

    def __init__(self, client: StreamClient, settings: Mapping[str, Any]) -> None:
        self._client = client
        self._settings = settings

    async def speak(self, text: str, speed: float) -> FloatArray:
        """Return 48 kHz samples of a text, without the silence around it."""
        audio = {"codec": "pcm_s16le", "rate": RATE_HZ}
        context = await self._client.open(
            **self._settings, speed=speed, format=audio, lead_ms=0, priority="batch"
        )
        await context.send_text(text)
        await context.end()
        stream: SampleStream | None = None
        data: list[bytes] = []
        async for event in context:
            if isinstance(event, ContextStarted):
                stream, data = SampleStream(event), []
            elif isinstance(event, AudioPacket) and stream is not None:
                data.append(stream.add(event))
            elif isinstance(event, ContextDone) and stream is not None:
                data.append(stream.finish(event.total_samples48))
        samples = np.frombuffer(b"".join(data), "<i2").astype(np.float32)
        return trimmed(samples / np.float32(_FULL_SCALE))


def trimmed(samples: FloatArray) -> FloatArray:
    """Return the samples with 40 ms of the silence at either end."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    if not len(loud):
        return samples[:0]
    kept = int(_KEPT_S * RATE_HZ)
    return samples[max(0, loud[0] - kept) : loud[-1] + 1 + kept]


async def fitted(
    speak: Speak, text: str, place_s: float | None, limits: FitLimits
) -> tuple[FloatArray, float]:
    """Return the samples and speed of the take that fits best into `place_s` (None: any length).

    Too long is spoken faster, much too short is spoken slower. Length is not quite in proportion to
    the inverse of speed, so the speed is corrected by what came out.
    """
    speed = limits.usual
    best: tuple[float, FloatArray, float] | None = None
    tried = set()
    for _ in range(_MAX_TAKES):
        tried.add(speed)
        samples = await speak(text, speed)
        if place_s is None or place_s <= 0 or not len(samples):
            return samples, speed
        filled = len(samples) / RATE_HZ / place_s
        if best is None or _misfit(filled) < best[0]:
            best = (_misfit(filled), samples, speed)
        if _FULL <= filled <= 1 + _TOLERANCE:
            break
        wanted = min(max(speed * filled, limits.slowest), limits.fastest)
        # Up, not to the nearest: a hundredth too slow is too long.
        speed = min(limits.fastest, np.ceil(wanted / _SPEED_STEP - 1e-6) * _SPEED_STEP)
        speed = round(float(speed), 2)
        if speed in tried:
            break
    assert best is not None
    return best[1], best[2]


def _misfit(filled: float) -> float:
    """Return how bad a fill is: too long is worse than too short."""
    return 10 * (filled - 1) if filled > 1 + _TOLERANCE else max(0.0, _FULL - filled)


def line_key(text: str, place_s: float | None, options: Mapping[str, Any]) -> str:
    """Return what names everything a line is made from."""
    place_ms = None if place_s is None else round(place_s * 1000)
    made_from = json.dumps([text, place_ms, options], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(made_from.encode()).hexdigest()[:16]


class DubFolder:
    """The output folder: a WAV per line and what is known of it, so that a job can be resumed."""

    _STATE = "dub.json"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = self._read()

    def _read(self) -> dict[int, Line]:
        path = self._folder / self._STATE
        if not path.exists():
            return {}
        try:
            lines = [Line(**line) for line in json.loads(path.read_text("utf-8"))["lines"]]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no state of a dub ({error}): delete it") from error
        return {line.number: line for line in lines}

    def done(self, number: int, key: str) -> Line | None:
        """Return the line if it is there and was made from the same."""
        line = self._lines.get(number)
        if line is None or line.key != key:
            return None
        if line.duration_s and self._num_samples(line) != round(line.duration_s * RATE_HZ):
            return None
        return line

    def _num_samples(self, line: Line) -> int | None:
        try:
            with wave.open(str(self._folder / line.file)) as file:
                return int(file.getnframes())
        except (OSError, EOFError, wave.Error):
            return None

    def add(self, cue: Cue, key: str, samples: FloatArray, speed: float, lufs: float) -> Line:
        """Set the loudness of a line, write it and remember it."""
        file = f"{cue.number:04}.wav"
        if len(samples):
            samples = set_loudness(samples, lufs)
            with _wav(self._folder / file) as writer:
                writer.writeframes(_int16(samples))
        measured = round(loudness_lufs(samples), 2)
        line = Line(cue.number, key, file, speed, len(samples) / RATE_HZ, measured)
        self._lines[cue.number] = line
        state = {"lines": [asdict(self._lines[number]) for number in sorted(self._lines)]}
        draft = self._folder / f"{self._STATE}.new"
        draft.write_text(json.dumps(state, indent=1), "utf-8")
        draft.replace(self._folder / self._STATE)
        return line

    def write_track(self, path: Path, cues: Sequence[Cue], lines: Sequence[Line]) -> None:
        """Write all lines on one track, each at the start of its cue."""
        position = 0
        with _wav(path) as writer:
            for cue, line in zip(cues, lines, strict=True):
                if not line.duration_s:
                    continue
                assert cue.start_s is not None
                start = round(cue.start_s * RATE_HZ)
                writer.writeframes(bytes(2 * max(0, start - position)))
                with wave.open(str(self._folder / line.file)) as reader:
                    writer.writeframes(reader.readframes(reader.getnframes()))
                    position = max(start, position) + reader.getnframes()


def placed(cues: Sequence[Cue], lines: Sequence[Line], *, gap_s: float) -> list[Cue]:
    """Return the cues where their lines sound.

    A line keeps the start its cue has, unless the line before it is not over by then; without times
    it follows after `gap_s`.
    """
    result = []
    free_s = 0.0  # from here on nothing sounds
    for cue, line in zip(cues, lines, strict=True):
        if not line.duration_s:
            here = cue.start_s if cue.start_s is not None else free_s
            end_s = cue.end_s if cue.end_s is not None else here
            result.append(replace(cue, start_s=here, end_s=max(here, end_s)))
            continue
        start_s = max(free_s, cue.start_s) if cue.start_s is not None else free_s
        end_s = start_s + line.duration_s
        result.append(replace(cue, start_s=start_s, end_s=end_s))
        free_s = end_s + (MIN_GAP_S if cue.start_s is not None else gap_s)
    return result


def _wav(path: Path) -> wave.Wave_write:
    writer = wave.open(str(path), "wb")
    writer.setnchannels(1)
    writer.setsampwidth(2)
    writer.setframerate(RATE_HZ)
    return writer


def _int16(samples: FloatArray) -> bytes:
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * _FULL_SCALE)
    return scaled.astype("<i2").tobytes()
