"""A server with a watermark key: what every client hears is marked, whatever it asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.audio.watermark import Watermark
from engine.audio.watermark_key import WatermarkKey
from server.config import load
from server.doctor_command import examine
from server.encoder import AudioEncoder
from server.errors import ConfigError
from server.runtime import Runtime
from server.serve_command import build_parts
from tests.server.live import serve
from tests.server.stage import PCM, spoken
from tests.speechlike import speechlike

RATE_HZ = 32000


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A new key."""
    path = tmp_path / "key"
    WatermarkKey.generate().write(path)
    return path


@pytest.mark.parametrize("sizes", [(960,), (31, 5000)])
def test_the_encoder_marks_before_it_resamples(sizes: tuple[int, ...], key_file: Path) -> None:
    """At the rate of the pack, however the chunks come; pauses and lengths stay what they were."""
    mark = Watermark(WatermarkKey.read(key_file), RATE_HZ)
    samples = speechlike(2.0, RATE_HZ)
    expected = AudioEncoder("pcm_s16le", source_hz=RATE_HZ, rate_hz=24000)
    pause = np.zeros(RATE_HZ // 10, np.float32)
    whole = expected.encode(mark.start().process(samples)) + expected.encode(pause)
    encoder = AudioEncoder("pcm_s16le", source_hz=RATE_HZ, rate_hz=24000, watermark=mark.start())
    packets, start = [], 0
    while start < len(samples):
        size = sizes[len(packets) % len(sizes)]
        packets += encoder.encode(samples[start : start + size])
        start += size
    packets += encoder.encode(pause)
    whole += expected.finish()
    packets += encoder.finish()
    assert b"".join(p.payload for p in packets) == b"".join(p.payload for p in whole)
    assert packets[-2].is_silence and encoder.total_samples48 == expected.total_samples48


def test_without_a_key_nothing_is_marked() -> None:
    """The scripted engine's constant comes out as it is."""
    stage = spoken("hello there.", settings=PCM)
    pcm = np.frombuffer(b"".join(p.payload for p in stage.sink.packets), "<i2")
    assert len(set(pcm[800:1600].tolist())) == 1


async def test_clients_and_operators_are_told(key_file: Path) -> None:
    """`ready` names it where it is on, and only there."""
    async with serve(f"server.watermark_key_file={key_file}") as live, live.session() as client:
        assert "watermark" in client.ready["features"]
    async with serve() as live, live.session() as client:
        assert "watermark" not in client.ready["features"]
    config = load(settings=[f"server.watermark_key_file={key_file}"], environment={})
    (line,) = [f for f in examine(config) if f.what == "watermark"]
    assert line.status.value == "ok" and str(key_file) in line.detail


def test_a_bad_key_keeps_the_server_from_starting(tmp_path: Path) -> None:
    """Better no server than one whose speech is not marked as its owner believes."""
    path = tmp_path / "key"
    setting = f"server.watermark_key_file={path}"
    config = load(settings=[setting, "engine.backend=fake"], environment={})
    with pytest.raises(ConfigError, match=r"^server.watermark_key_file: .* No such file"):
        Runtime(config, build_parts(config))
    path.write_text("secret")
    with pytest.raises(ConfigError, match="hexadecimal") as caught:
        Runtime(config, build_parts(config))
    assert "secret" not in str(caught.value)
    (line,) = [f for f in examine(config) if f.what == "watermark"]
    assert line.status.value == "!!" and "hexadecimal" in line.detail
