"""Other vendors' own clients, pointed at this server by their documented parameter."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from engine.types import FloatArray

pytestmark = [pytest.mark.compat, pytest.mark.timeout(300)]

DRIVERS = Path(__file__).parent / "drivers"
SDKS = ("openai", "elevenlabs", "cartesia", "deepgram", "dashscope")
_DRIVER_TIMEOUT_S = 120
_MIN_S, _MAX_S = 1.0, 20.0  # of some fifty characters
_MIN_RMS = 0.01


def decode(clip: Mapping[str, Any]) -> tuple[FloatArray, int]:
    """Return what a client would hear."""
    data = Path(clip["path"]).read_bytes()
    if clip["kind"] == "pcm":
        assert len(data) % 2 == 0, "half a sample"
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768, clip["rate_hz"]
    if clip["kind"] == "float":
        return np.frombuffer(data, "<f4").astype(np.float32), clip["rate_hz"]
    if data[:4] == b"fLaC":
        import av

        with av.open(io.BytesIO(data)) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            rate_hz = container.streams.audio[0].rate
        return np.concatenate(frames, axis=1)[0].astype(np.float32) / 32768, rate_hz
    samples, rate_hz = soundfile.read(io.BytesIO(_finished(data)), dtype="float32")
    return samples, rate_hz


def _finished(data: bytes) -> bytes:
    """Return a streamed WAV with the sizes that are known now."""
    if data[:4] != b"RIFF":
        return data
    assert data.count(b"RIFF") == 1
    sizes = (len(data) - 8).to_bytes(4, "little"), (len(data) - 44).to_bytes(4, "little")
    return data[:4] + sizes[0] + data[8:40] + sizes[1] + data[44:]


def judge(report: Mapping[str, Any]) -> dict[str, float]:
    """Check every clip: it decodes, lasts as long as speech of its text may, and is not silent."""
    lengths = {}
    for clip in report["clips"]:
        samples, rate_hz = decode(clip)
        lengths[clip["name"]] = len(samples) / rate_hz
        assert _MIN_S <= len(samples) / rate_hz <= _MAX_S, clip
        assert float(np.sqrt(np.mean(samples**2))) > _MIN_RMS, clip
    return lengths


def drive(python: Path, name: str, url: str, folder: Path, *more: str) -> dict[str, Any]:
    """Run a driver; return its report."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(python), str(DRIVERS / f"drive_{name}.py"), url, str(folder), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DRIVER_TIMEOUT_S)
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_openai(sdk_python: Path, server_url: str, tmp_path: Path) -> None:
    """Every format is what it says, chunks come early, errors have this API's type."""
    report = drive(sdk_python, "openai", server_url, tmp_path)
    judge(report)
    facts = report["facts"]
    assert facts["chunks"] > 20
    assert facts["type_opus"] == "audio/ogg" and facts["type_mp3"] == "audio/mpeg"
    assert facts["sse_events"] > 5 and "speech.audio.done" in facts["sse_last"]
    assert facts["error"] == "voice_not_found"
    assert "tts-1" in facts["models"]


def test_elevenlabs(sdk_python: Path, server_url: str, tmp_path: Path) -> None:
    """HTTP and the realtime socket; voice settings are heard."""
    report = drive(sdk_python, "elevenlabs", server_url, tmp_path)
    lengths = judge(report)
    assert report["facts"]["error"] == 404
    assert lengths["realtime_slow"] > 1.1 * lengths["realtime_plain"]


def test_elevenlabs_over_tls(
    sdk_python: Path, tls_server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the URL is changed: the realtime client takes nothing but wss."""
    url, cert = tls_server
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    judge(drive(sdk_python, "elevenlabs_tls", url, tmp_path / "out"))


def test_cartesia(sdk_python: Path, server_url: str, tmp_path: Path) -> None:
    """Contexts with timestamps, a silent cancel, floats by default."""
    report = drive(sdk_python, "cartesia", server_url, tmp_path)
    judge(report)
    assert report["facts"]["last"] == "done"
    assert report["facts"]["words"][:3] == ["Hello", "there,", "this"]


def test_deepgram(sdk_python: Path, server_url: str, tmp_path: Path) -> None:
    """Metadata first, Flushed after the audio, Cleared instead of it."""
    report = drive(sdk_python, "deepgram", server_url, tmp_path)
    judge(report)
    assert report["facts"]["kinds"] == ["Metadata", "Flushed", "Cleared"]


def test_dashscope(sdk_python: Path, server_url: str, tmp_path: Path) -> None:
    """Calls, callbacks, cancel, every container, and a failure it raises."""
    report = drive(sdk_python, "dashscope", server_url, tmp_path)
    judge(report)
    facts = report["facts"]
    assert facts["calls"] == ["open", "complete"] and facts["events"] >= 2
    assert "complete" in facts["cancelled"]
    assert "voice_not_found" in facts["error"]
    assert 0 < facts["first_package_delay_ms"] < 10_000


def test_wyoming(sdk_python: Path, server_url: str, wyoming_port: int, tmp_path: Path) -> None:
    """Home Assistant's library; the copy of a streamed text is not spoken."""
    report = drive(sdk_python, "wyoming", server_url, tmp_path, str(wyoming_port))
    lengths = judge(report)
    assert report["facts"]["streaming"] is True
    assert lengths["streamed"] < 1.5 * lengths["whole"]


async def test_all_at_once(
    sdk_python: Path, server_url: str, wyoming_port: int, tmp_path: Path
) -> None:
    """Every SDK and our own `say` speak through one port at the same time."""
    out = tmp_path / "say.wav"
    say = [sys.executable, "-m", "server.cli", "say", "Hello there, this is a test."]
    say += ["--url", server_url.replace("http", "ws", 1), "--out", str(out)]
    root = Path(__file__).parents[2]
    own = asyncio.to_thread(
        subprocess.run, say, cwd=root, capture_output=True, text=True, timeout=_DRIVER_TIMEOUT_S
    )
    others = [
        asyncio.to_thread(drive, sdk_python, name, server_url, tmp_path / name) for name in SDKS
    ]
    port = str(wyoming_port)
    others.append(asyncio.to_thread(drive, sdk_python, "wyoming", server_url, tmp_path / "w", port))
    spoken, *reports = await asyncio.gather(own, *others)
    assert spoken.returncode == 0, spoken.stderr
    samples, rate_hz = soundfile.read(out, dtype="float32")
    assert len(samples) / rate_hz > 0.5 and np.abs(samples).max() > _MIN_RMS
    for report in reports:
        judge(report)
