"""The serve command: start, banner, signals, failures."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.sync.client import connect

from engine.errors import BackendUnavailable, CheckpointError
from engine.types import Language
from server import config, serve_command
from server.runtime import Parts
from tests.fakes import Script, ScriptedEngine, ScriptedFrontend
from tests.server.live import Client

ROOT = Path(__file__).parents[2]


def arguments(*argv: str) -> argparse.Namespace:
    """Parse the command's arguments."""
    parser = argparse.ArgumentParser()
    serve_command.add_arguments(parser)
    return parser.parse_args(argv)


@contextmanager
def scripted(monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine) -> Iterator[None]:
    """Let the command build a scripted engine."""
    parts = Parts(engine, lambda info: ScriptedFrontend(), (Language.EN,))
    monkeypatch.setattr(serve_command, "build_parts", lambda config: parts)
    yield


def test_a_bad_configuration_is_an_argument_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and the key's name."""
    assert serve_command.run(arguments("--port", "x")) == 2
    assert "server.port is 'x', valid: an integer" in capsys.readouterr().err


def test_a_missing_pack_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 1 before anything listens."""
    monkeypatch.setattr(serve_command.logs, "set_up", lambda level, style: None)
    sets = ["--set", f"engine.packs_dir={tmp_path}", "--port", "0"]
    assert serve_command.run(arguments("--pack", "none", *sets)) == 1
    assert "sovits-live model import" in capsys.readouterr().err


async def test_signals_drain_and_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM lets the open context finish; the status is 0."""
    engine = ScriptedEngine(Script(step_s=0.005))
    with scripted(monkeypatch, engine):
        loaded = config.load(settings=["server.port=0"], environment={})
        serving = asyncio.create_task(serve_command.serve(loaded))
        url = await _url(capsys)
        from websockets.asyncio.client import connect as connect_async

        async with connect_async(url, proxy=None, compression=None) as ws:
            client = Client(ws)
            await client.send("text", ctx="a", text="One two three.", end=True)
            await client.next("context.started")
            os.kill(os.getpid(), signal.SIGTERM)
            await client.rest()
            assert client.ws.close_code == 1012
            assert client.kinds()[-1] == "context.done"
        assert await serving == 0
    assert not engine.is_ready


async def test_a_second_signal_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The context that never ends is dropped."""
    with scripted(monkeypatch, ScriptedEngine()):
        loaded = config.load(settings=["server.port=0"], environment={})
        serving = asyncio.create_task(serve_command.serve(loaded))
        url = await _url(capsys)
        from websockets.asyncio.client import connect as connect_async

        async with connect_async(url, proxy=None, compression=None) as ws:
            client = Client(ws)
            await client.send("text", ctx="a", text="One")
            await client.next("context.started")
            os.kill(os.getpid(), signal.SIGINT)
            await client.next("going_away")
            os.kill(os.getpid(), signal.SIGINT)
            async with asyncio.timeout(5):
                assert await serving == 0


async def test_a_signal_ends_a_start_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the engine is ready."""
    engine = ScriptedEngine()
    engine.start_gate = asyncio.Event()
    with scripted(monkeypatch, engine):
        loaded = config.load(settings=["server.port=0"], environment={})
        serving = asyncio.create_task(serve_command.serve(loaded))
        for _ in range(20):
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await serving == 0


async def test_an_engine_that_cannot_start_ends_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the engine's own error."""
    engine = ScriptedEngine()
    engine.start_error = CheckpointError("pack.json is missing")
    with scripted(monkeypatch, engine), pytest.raises(CheckpointError, match=r"pack\.json"):
        await serve_command.serve(config.load(settings=["server.port=0"], environment={}))


async def test_a_port_that_is_taken_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an address this machine does not have."""
    with scripted(monkeypatch, ScriptedEngine()), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}: another program.*--port"):
            await serve_command.serve(config.load(settings=[f"server.port={port}"], environment={}))
    with scripted(monkeypatch, ScriptedEngine()):
        sets = ["server.host=127.0.0.1", "server.port=0"]
        loaded = config.load(settings=sets, environment={})
        elsewhere = replace(loaded, server=replace(loaded.server, host="::1%none"))
        with pytest.raises(OSError, match="see --host"):
            await serve_command.serve(elsewhere)


async def test_a_certificate_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Names the files."""
    sets = [f"server.tls_cert={tmp_path}/c", f"server.tls_key={tmp_path}/k", "server.port=0"]
    with scripted(monkeypatch, ScriptedEngine()):
        with pytest.raises(config.ConfigError, match=r"server\.tls_cert"):
            await serve_command.serve(config.load(settings=sets, environment={}))


async def _url(capsys: pytest.CaptureFixture[str]) -> str:
    """Wait for the banner; return the socket's URL."""
    printed = ""
    async with asyncio.timeout(10):
        while "notice" not in printed:
            await asyncio.sleep(0.01)
            printed += capsys.readouterr().out
    match = re.search(r"ws://\S+", printed)
    assert match is not None
    assert "scripted" in printed and "anna, bob" in printed
    return match.group()


@pytest.mark.slow
def test_the_whole_command_speaks_and_stops() -> None:
    """`python -m server` as a process: real frontends, the engine's fake backend, Opus, SIGTERM."""
    sets = ["engine.backend=fake", "engine.process=false", "log.format=json"]
    command = [sys.executable, "-m", "server", "--port", "0"]
    command += [part for item in sets for part in ("--set", item)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            banner = [process.stdout.readline() for _ in range(5)]
            url = banner[1].split()[-1]
            with connect(url, proxy=None, compression=None) as ws:
                ready = json.loads(ws.recv())
                assert ready["notice"] == "fake backend, tones only"
                ws.send(json.dumps({"type": "text", "ctx": "a", "text": "你好。Hi!", "end": True}))
                received = []
                while not received or received[-1].get("type") != "context.done":
                    data = ws.recv(timeout=20)
                    received.append(json.loads(data) if isinstance(data, str) else {"bytes": data})
            assert sum("bytes" in item for item in received) > 10
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


async def test_a_g2pw_folder_without_the_model_is_named_at_the_start(tmp_path: Path) -> None:
    """The configured folder reaches the workers: a server does not speak without it unnoticed."""
    section = config.TextSection(g2pw_dir=str(tmp_path))
    frontend = serve_command.build_frontend(section, ScriptedEngine().info, Language.ZH)
    with pytest.raises(BackendUnavailable, match=r"lacks g2pW.onnx, .* or start without g2pW"):
        await frontend.start()
