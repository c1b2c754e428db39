"""Playing through a program on the PATH, here a script that keeps what it is given."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from clients.errors import Unplayable
from clients.events import AudioPacket, ContextStarted
from clients.play import Player, player_command

STARTED = ContextStarted("c", 1, "pcm_s16le", 24000)


def install(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def packet(seq: int) -> AudioPacket:
    return AudioPacket(bytes([seq]) * 960, seq, seq * 960, 960, 0)


async def test_player_gets_every_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last packet is cut to the announced total; close waits until it is played."""
    out = tmp_path / "out"
    install(tmp_path, "aplay", f"echo $* > {out}.args; exec /bin/cat > {out}", monkeypatch)
    player = await Player.start(STARTED)
    for seq in range(4):
        await player.add(packet(seq))
    await player.close(3 * 960 + 480)
    assert out.read_bytes() == b"".join(packet(i).payload for i in range(3)) + b"\3" * 480
    assert "-r 24000" in (tmp_path / "out.args").read_text()
    await player.stop()


async def test_stop_is_immediate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A player that would go on for an hour is ended."""
    told = tmp_path / "pid"
    install(tmp_path, "pacat", f"echo $$ > {told}; exec /bin/sleep 3600", monkeypatch)
    player = await Player.start(STARTED)
    await player.add(packet(0))
    while not (told.exists() and told.read_text().endswith("\n")):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await player.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


async def test_player_that_ends_early_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a broken pipe."""
    install(tmp_path, "play", "exit 1", monkeypatch)
    player = await Player.start(STARTED)
    with pytest.raises(Unplayable, match="the player ended early"):
        for seq in range(200):
            await player.add(AudioPacket(bytes(65536), seq, 0, 960, 0))
    await player.stop()


def test_no_player_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And how to do without."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unplayable, match="install one of pacat, aplay, .*--out"):
        player_command(24000)


async def test_telephone_codecs_are_not_played(tmp_path: Path) -> None:
    """Their bytes are no 16-bit samples."""
    with pytest.raises(Unplayable, match="mulaw cannot be played, valid: opus, pcm_s16le"):
        await Player.start(ContextStarted("c", 1, "mulaw", 8000))
