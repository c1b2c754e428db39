"""Defaults and patches of what a client may choose."""

from __future__ import annotations

import pytest

from server.errors import ClientError
from server.settings import PROFILES, Format, Settings, apply
from server.wire import decode_patch, encode


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({}, Format("opus", 24000)),
        ({"sample_rate": 48000}, Format("opus", 48000)),
        ({"sample_rate": 48000, "format": {"rate": 16000}}, Format("opus", 16000)),
        ({"format": {"codec": "mulaw"}}, Format("mulaw", 8000)),
        ({"format": {"codec": "pcm_s16le", "rate": 22050}}, Format("pcm_s16le", 22050)),
    ],
)
def test_resolves_the_format(patch: dict[str, object], expected: Format) -> None:
    """Short forms and the usual rate of a codec fill in what is not given."""
    settings = apply(Settings(), patch)
    assert settings.format == expected
    assert settings.sample_rate == expected.rate


def test_a_rate_that_no_longer_fits_is_replaced_by_the_usual_one() -> None:
    """From 22.05 kHz PCM back to Opus without naming a rate."""
    pcm = apply(Settings(), {"format": {"codec": "pcm_s16le", "rate": 22050}})
    assert apply(pcm, {"format": {"codec": "opus"}}).format.rate == 24000


def test_refuses_a_rate_the_codec_does_not_have() -> None:
    """Opus has no 32 kHz."""
    with pytest.raises(ClientError) as caught:
        apply(Settings(), {"sample_rate": 32000})
    assert caught.value.code == "unsupported_format"
    assert caught.value.message == (
        "format.rate is 32000 for opus, valid: 8000, 12000, 16000, 24000, 48000"
    )


def test_a_profile_is_a_set_of_settings() -> None:
    """What else is given wins over it, field by field."""
    caller = apply(Settings(), {"profile": "callbot"})
    assert (caller.format.codec, caller.format.rate, caller.lead_ms) == ("mulaw", 8000, 400)
    assert (caller.digits, caller.priority, caller.profile) == ("read", "telephony", "callbot")
    own = apply(Settings(), {"profile": "vtuber", "format": {"bitrate": 48000}, "lead_ms": 500})
    assert (own.format.rate, own.format.bitrate, own.lead_ms) == (48000, 48000, 500)
    assert own.timings == ("char", "viseme", "rms")


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_possible(name: str) -> None:
    """Each is valid by the rules of the wire."""
    patch = decode_patch(Settings, encode(PROFILES[name]), strict=True)
    assert apply(Settings(), {"profile": name}) == apply(Settings(profile=name), patch)  # type: ignore[arg-type]
