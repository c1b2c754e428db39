"""The talk without a microphone, against a real server with the fake engine's tones."""

from __future__ import annotations

import argparse
import asyncio
import wave
from pathlib import Path

import pytest

from clients import talk_command
from clients.talk_command import RATE_HZ, Turn, main, talk
from tests.clients.web_pages import served

SCRIPT = (
    Turn("Hello!", "Good day."),
    Turn("Tell me.", "This is much too long for anybody to hear to the end of it.", 0.4),
    Turn("Stop.", "Yes."),
)


async def test_an_interrupted_answer_is_remembered_as_it_was_heard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole answers are heard whole; the interrupted one up to where playback was."""
    monkeypatch.setattr(talk_command, "SCRIPT", SCRIPT)
    async with served("audio.voice=fake") as live:
        args = argparse.Namespace(url=live.http, token=None, voice=None, tokens_per_s=60.0)
        first, second, third = await talk(args)
    assert first.heard == SCRIPT[0].answer and third.heard == SCRIPT[2].answer
    assert 0 < len(second.heard) < len(SCRIPT[1].answer)
    assert SCRIPT[1].answer.startswith(second.heard)
    assert 0.3 < len(second.audio) / 2 / RATE_HZ < 1.0
    assert len(first.audio) / 2 / RATE_HZ > 0.2 and first.first_packet_ms > 0
    shown = capsys.readouterr().out
    assert f"bot   {second.heard}" in shown and "not heard:" in shown


async def test_what_was_heard_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One WAV of all turns with pauses between them."""
    monkeypatch.setattr(talk_command, "SCRIPT", SCRIPT)
    out = tmp_path / "talk.wav"
    async with served("audio.voice=fake") as live:
        arguments = ["--url", live.http, "--out", str(out), "--tokens-per-s", "60"]
        assert await asyncio.to_thread(main, arguments) == 0
    with wave.open(str(out)) as file:
        assert file.getframerate() == RATE_HZ
        assert file.getnframes() / RATE_HZ > 1.5


def test_no_server_is_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    """And said."""
    assert main(["--url", "ws://127.0.0.1:9"]) == 3
    assert "no connection" in capsys.readouterr().err
