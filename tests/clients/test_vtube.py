"""The mouth bridge against a VTube Studio that follows the public API."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from clients import vtube
from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.thread_engine import ThreadEngine
from tests.server.live import serve as serve_live

API = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0"}


@dataclass
class Studio:
    """What the API documents: a token for the asking, parameters after authentication."""

    url: str = ""
    is_denied: bool = False
    num_asked: int = 0
    values: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def handle(self, socket: ServerConnection) -> None:
        is_in = False
        async for text in socket:
            request = json.loads(text)
            if {name: request.get(name) for name in API} != API:
                self.faults.append(f"no API request: {text!r}")
            kind, data = request["messageType"], request["data"]
            answer: dict[str, Any] = {}
            answer_kind = kind.replace("Request", "Response")
            if kind == "AuthenticationTokenRequest":
                self.num_asked += 1
                answer = {"authenticationToken": "t0ken"}
                if self.is_denied:
                    answer_kind = "APIError"
                    answer = {"errorID": 50, "message": "User has denied API access"}
            elif kind == "AuthenticationRequest":
                is_in = data["authenticationToken"] == "t0ken"
                answer = {"authenticated": is_in, "reason": ""}
            elif kind == "InjectParameterDataRequest" and is_in:
                (parameter,) = data["parameterValues"]
                if parameter["id"] != "MouthOpen" or data["mode"] != "set":
                    self.faults.append(f"not the mouth: {data}")
                self.values.append(parameter["value"])
            else:
                answer_kind, answer = "APIError", {"errorID": 8, "message": "not authenticated"}
            reply = {**API, "timestamp": 1, "requestID": request["requestID"]}
            # Events may come between a request and its answer.
            await socket.send(json.dumps({**API, "messageType": "TestEvent", "data": {}}))
            await socket.send(json.dumps({**reply, "messageType": answer_kind, "data": answer}))


@asynccontextmanager
async def studio(**options: Any) -> AsyncIterator[Studio]:
    fake = Studio(**options)
    async with serve(fake.handle, "127.0.0.1", 0) as server:
        fake.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield fake


async def run_vtube(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    vtube.add_arguments(parser)
    return await asyncio.to_thread(vtube.run, parser.parse_args(list(arguments)))


async def test_the_mouth_moves_while_it_speaks_and_closes(tmp_path: Path) -> None:
    """Thirty values a second from closed to open and back; the user is asked once."""
    token = tmp_path / "config" / "token"
    engine = ThreadEngine(EngineConfig(backend="fake", fake=FakeScript(tokens_per_phoneme=1)))
    async with studio() as fake, serve_live(engine=engine) as live:  # type: ignore[arg-type]
        arguments = ("--url", live.http, "--studio", fake.url, "--token-file", str(token))
        for _ in range(2):
            assert await run_vtube("Hello there.", "--voice", "fake", *arguments) == 0
    assert fake.faults == [] and fake.num_asked == 1
    assert token.read_text() == "t0ken" and token.stat().st_mode & 0o077 == 0
    assert max(fake.values) > 0.8 and fake.values[0] == 0 and fake.values[-1] == 0
    assert len(fake.values) > 2 * 8


async def test_a_forgotten_permission_is_asked_for_again(tmp_path: Path) -> None:
    """A token VTube Studio no longer takes is replaced."""
    token = tmp_path / "token"
    token.write_text("old")
    engine = ThreadEngine(EngineConfig(backend="fake", fake=FakeScript(tokens_per_phoneme=1)))
    async with studio() as fake, serve_live(engine=engine) as live:  # type: ignore[arg-type]
        arguments = ("--url", live.http, "--studio", fake.url, "--token-file", str(token))
        assert await run_vtube("Hi.", "--voice", "fake", *arguments) == 0
    assert fake.num_asked == 1 and token.read_text() == "t0ken"


async def test_a_user_who_says_no_is_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1 with VTube Studio's own words."""
    async with studio(is_denied=True) as fake:
        arguments = ("--studio", fake.url, "--token-file", str(tmp_path / "token"))
        assert await run_vtube("Hello.", *arguments) == 1
    assert "User has denied API access" in capsys.readouterr().err
    assert not (tmp_path / "token").exists()


async def test_without_vtube_studio_it_says_how_to_switch_it_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Status 3."""
    assert await run_vtube("Hello.", "--studio", "ws://127.0.0.1:9") == 3
    assert "switch on its API" in capsys.readouterr().err
    assert await run_vtube(" ", "--studio", "ws://127.0.0.1:9") == 2
