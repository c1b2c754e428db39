"""`sovits-live say`, the whole command, against a scripted server."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clients import say
from clients.command_line import EXIT_ARGUMENTS, EXIT_CONNECTION, EXIT_OK, EXIT_SERVER
from server import messages
from server.encoder import AudioEncoder

Serving = Callable[..., Any]


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    say.add_arguments(parser)
    return parser.parse_args(arguments)


async def run(*arguments: str) -> int:
    """Run the command as the dispatcher does, beside the server's event loop."""
    return await asyncio.to_thread(say.run, parse(*arguments))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", ()),
        ("a.opus", ()),
        ("a.ogg", ("--rate", "48000")),
        ("a.wav", ("--codec", "mulaw")),
        ("a.wav", ("--codec", "pcm_s16le", "--rate", "16000")),
    ],
)
async def test_file_is_as_long_as_what_was_spoken(
    serving: Serving,
    speaking: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    options: tuple[str, ...],
) -> None:
    """One second to the sample, whatever the codec, and the figures are printed."""
    path = tmp_path / name
    async with serving(speaking) as server:
        status = await run("Hello.", "--url", server.url, "--out", str(path), *options)
        sent = server.peers[0].received
    assert status == EXIT_OK
    info = soundfile.info(path)
    assert info.frames == info.samplerate
    printed = capsys.readouterr()
    assert re.search(r"first packet after \d+ ms", printed.out)
    assert re.search(r"1\.00 s of audio in \d\.\d\d s \(RTF \d\.\d+\), 5\d packets", printed.out)
    assert "RTF of the server 0.250" in printed.out
    assert "note: random weights, no speech" in printed.err
    assert [message["type"] for message in sent] == ["context.open", "text", "end"]
    assert sent[0]["lead_ms"] == 0


async def test_neither_kept_nor_played_is_told(
    serving: Serving, speaking: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wonders where the voice went is told how to hear it."""
    async with serving(speaking) as server:
        assert await run("Hello.", "--url", server.url) == EXIT_OK
    assert "add --out hello.wav or --play" in capsys.readouterr().err


async def test_options_reach_the_server(serving: Serving, speaking: Any) -> None:
    """Under their wire names; what was not given is left to the server."""
    options = (
        "--voice=anna --style=happy --lang=zh --speed=1.2 --seed=7 --rate=48000 --bitrate=64000"
    ).split()
    async with serving(speaking) as server:
        assert await run("Hi", "--url", server.url, *options, "--quiet") == EXIT_OK
        opened = server.peers[0].received[0]
    expected = {
        "voice": "anna", "style": "happy", "lang": "zh", "speed": 1.2, "seed": 7, "lead_ms": 0,
        "format": {"codec": "opus", "rate": 48000, "bitrate": 64000},
    }  # fmt: skip
    assert opened == {"type": "context.open", "ctx": opened["ctx"], **expected}


async def test_standard_input_is_sent_as_it_comes(
    serving: Serving, speaking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A character cut between two reads arrives whole."""
    read_end, write_end = os.pipe()
    heard = asyncio.Event()

    async def script(peer: Any) -> None:
        original = peer.hear

        async def hear(kind: str) -> Any:
            if kind == "end":
                await original("text")
                heard.set()
            return await original(kind)

        peer.hear = hear
        await speaking(peer)

    with os.fdopen(read_end, "rb") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        async with serving(script) as server:
            os.write(write_end, "你".encode() + "好".encode()[:1])
            command = asyncio.create_task(run("-", "--url", server.url, "--quiet"))
            await asyncio.wait_for(heard.wait(), 10)
            os.write(write_end, "好".encode()[1:])
            os.close(write_end)
            assert await command == EXIT_OK
            texts = [m["text"] for m in server.peers[0].received if m["type"] == "text"]
    assert texts == ["你", "好"]


async def test_an_error_ends_it_while_more_text_may_come(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has to close standard input first, nor for Ctrl-C."""

    async def script(peer: Any) -> None:
        ctx = (await peer.hear("context.open"))["ctx"]
        await peer.say(messages.ErrorMessage("voice_not_found", 404, "no x", False, "r1", ctx=ctx))
        await peer.socket.wait_closed()

    read_end, write_end = os.pipe()
    try:
        with os.fdopen(read_end, "rb") as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            async with serving(script) as server, asyncio.timeout(20):
                assert await run("-", "--url", server.url) == EXIT_SERVER
            os.write(write_end, b"late")  # ends the read
    finally:
        os.close(write_end)
    assert "no x" in capsys.readouterr().err


async def test_wav_on_standard_output_leaves_it_clean(
    serving: Serving, speaking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures go to standard error then."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr("sys.stdout", out)
    async with serving(speaking) as server:
        assert await run("Hi", "--url", server.url, "--out", "-") == EXIT_OK
    samples, rate_hz = soundfile.read(io.BytesIO(out.buffer.getvalue()))  # type: ignore[attr-defined]
    assert len(samples) == rate_hz == 24000


async def test_playing_keeps_real_time(
    serving: Serving, speaking: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The player gets the samples, and the server's own lead is not lifted."""
    player = tmp_path / "aplay"
    player.write_text(f"#!/bin/sh\nexec /bin/cat > {tmp_path}/played\n")
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with serving(speaking) as server:
        assert await run("Hi", "--url", server.url, "--play", "--quiet") == EXIT_OK
        assert "lead_ms" not in server.peers[0].received[0]
    assert (tmp_path / "played").stat().st_size == 2 * 24000


async def test_error_of_the_server_is_status_1(
    serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its code and sentence, and no file."""

    async def script(peer: Any) -> None:
        ctx = (await peer.hear("context.open"))["ctx"]
        text = "voice is 'x', valid: default"
        await peer.say(messages.ErrorMessage("voice_not_found", 404, text, False, "r1", ctx=ctx))
        await peer.socket.wait_closed()

    path = tmp_path / "a.wav"
    async with serving(script) as server:
        assert await run("Hi", "--url", server.url, "--out", str(path)) == EXIT_SERVER
    assert "voice_not_found: voice is 'x', valid: default" in capsys.readouterr().err
    assert not path.exists()


async def test_a_refused_text_leaves_the_file_of_that_name(
    serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the context had begun; the note of the model does not hide the error."""

    async def script(peer: Any) -> None:
        ctx = (await peer.hear("context.open"))["ctx"]
        await peer.start(ctx, 1, AudioEncoder("opus", source_hz=32000, rate_hz=24000))
        refusal = messages.ErrorMessage("unsupported_lang", 400, text, False, "r1", ctx=ctx)
        await peer.say(replace(refusal, fatal=True))
        await peer.socket.wait_closed()

    text, path = "this model speaks en, not ja", tmp_path / "a.wav"
    path.write_bytes(b"of yesterday")
    async with serving(script) as server:
        assert await run("Hi", "--url", server.url, "--out", str(path)) == EXIT_SERVER
    assert capsys.readouterr().err == f"error: unsupported_lang: {text}\n"
    assert path.read_bytes() == b"of yesterday"


async def test_lost_connection_is_status_3_and_keeps_what_came(
    serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file holds the audio up to there."""

    async def script(peer: Any) -> None:
        ctx = (await peer.hear("context.open"))["ctx"]
        encoder = AudioEncoder("opus", source_hz=32000, rate_hz=24000)
        await peer.start(ctx, 1, encoder)
        await peer.say(messages.SegmentStarted(ctx, 0, "Hi", 0, 0, 2))
        await peer.send_audio(1, encoder.encode(np.zeros(16000, np.float32)))
        await peer.socket.close(4480)

    path = tmp_path / "a.wav"
    async with serving(script) as server:
        assert await run("Hi", "--url", server.url, "--out", str(path)) == EXIT_CONNECTION
    assert "session lost (4480)" in capsys.readouterr().err
    assert 0.4 < soundfile.info(path).duration < 0.5


async def test_no_server_is_status_3(
    unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the address tried."""
    assert await run("Hi", "--url", f"ws://127.0.0.1:{unused_tcp_port}") == EXIT_CONNECTION
    assert f"no connection to ws://127.0.0.1:{unused_tcp_port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("  ",), "the text is empty"),
        (("Hi", "--out", "a.mp3"), "'a.mp3' is no audio file"),
        (("Hi", "--out", "a.opus", "--codec", "alaw"), "holds Opus and the codec is alaw"),
        (("Hi", "--play", "--codec", "mulaw"), "--play needs --codec opus or pcm_s16le"),
    ],
)
def test_bad_arguments_are_status_2(
    arguments: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a connection is made."""
    assert say.run(parse(*arguments)) == EXIT_ARGUMENTS
    assert reason in capsys.readouterr().err
