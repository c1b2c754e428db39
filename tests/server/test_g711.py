"""G.711 against libsndfile, sample by sample."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from server.g711 import Int16Array, alaw, mulaw

ALL = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)


def decoded(data: bytes, subtype: str) -> Int16Array:
    samples, _ = soundfile.read(
        io.BytesIO(data), dtype="int16", format="RAW", subtype=subtype, channels=1, samplerate=8000
    )
    return np.asarray(samples)


def encoded(subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, ALL, 8000, format="RAW", subtype=subtype)
    return buffer.getvalue()


def test_mulaw_of_every_sample_is_libsndfiles() -> None:
    """All 65536 values."""
    assert mulaw(ALL) == encoded("ULAW")


def test_alaw_of_every_sample_is_libsndfiles_but_for_ties() -> None:
    """Negative values on a decision level go to the lower step here (ITU-T), to the upper there."""
    ours = np.frombuffer(alaw(ALL), np.uint8)
    theirs = np.frombuffer(encoded("ALAW"), np.uint8)
    ties = ALL[ours != theirs]
    assert len(ties) < 128
    assert np.all(ties < 0) and np.all(ties % 16 == 0)


@pytest.mark.parametrize(("law", "subtype"), [(mulaw, "ULAW"), (alaw, "ALAW")])
def test_decoded_levels_keep_their_code(law: Callable[[Int16Array], bytes], subtype: str) -> None:
    """Coding what was decoded changes nothing (mu-law has two zeros)."""
    codes = bytes(code for code in range(256) if (law, code) != (mulaw, 0x7F))
    assert law(decoded(codes, subtype)) == codes


def test_known_codes() -> None:
    """Silence is 0xFF and 0xD5, full scale 0x80 and 0xAA, negative full scale 0x00 and 0x2A."""
    samples = np.array([0, 32767, -32768], np.int16)
    assert mulaw(samples) == b"\xff\x80\x00"
    assert alaw(samples) == b"\xd5\xaa\x2a"
