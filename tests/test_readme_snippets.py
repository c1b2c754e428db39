"""Runs what the README tells a reader to run, as it stands there, in a home of its own.

The commands go to bash unchanged. What they name and a reader brings is made here: `some-llm`, a
player, a recording, weights in the official format. Only the port differs, so that a server that
runs on this machine is not met, and the hub, which is on this machine too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from bench.rivals.serving import free_port
from engine.manifest import hash_file
from tests.hub_server import Hub, serving
from tests.readme import ROOT, block_with
from tests.speechlike import speechlike, write_wav
from tests.tiny_packs import tiny_request

pytestmark = [pytest.mark.readme, pytest.mark.timeout(1200)]

START_S, COMMAND_S, STOP_S = 180.0, 900.0, 30.0

# Stands for `sovits-live`: the same program, told another port and another hub.
_PROGRAM = """\
#!{python}
import json, os, sys
from pathlib import Path


def run(arguments):
    if arguments[0] == "say":
        arguments += ["--url", "ws://127.0.0.1:" + os.environ["SOVITS_SERVER_PORT"]]
    if arguments[:2] == ["model", "pull"]:
        from engine import hub, pull_command

        listed = json.loads(Path(os.environ["TEST_HUB_FILES"]).read_text())
        files = tuple(hub.HubFile(hub.Role(role), *rest) for role, *rest in listed)
        pull_command.VERSIONS = {{"v2ProPlus": files}}
        arguments += ["--source", os.environ["TEST_HUB_URL"]]
    from server.cli import main

    return main(arguments)


if __name__ == "__main__":  # the engine's own process imports this file again
    sys.exit(run(sys.argv[1:]))
"""
_LLM = "#!/bin/sh\nfor word in Once upon a time.; do printf '%s ' \"$word\"; sleep 0.05; done\n"
# Enough for the watermark: the page promises 5 s.
_TEN_SECONDS = (
    "Good morning, and welcome to all of you. We begin with the news of the day. After that there "
    "will be music, and then the weather for the weekend."
)
_PLAYER = '#!/bin/sh\ncat > "$HOME/played-$$.raw"\n'


@dataclass(frozen=True, slots=True)
class Reader:
    """Someone who follows the page: a home, a folder to work in, programs of their own."""

    folder: Path
    environment: dict[str, str]

    def run(self, code: str) -> str:
        """Run a block with bash; return what it printed. At the limit its children end too."""
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(timeout=COMMAND_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, f"{code}\n{printed}"
        return printed

    @contextmanager
    def serving(self, command: str) -> Iterator[Path]:
        """Run a `serve` command until it is ready and the block is left; yield its log."""
        log = self.folder / "serve.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + START_S
            while "sovits-live is ready" not in log.read_text():
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield log
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_S) == 0, log.read_text()
            assert "Traceback" not in log.read_text()
        finally:
            process.kill()
            process.wait()

    def seconds(self, name: str) -> float:
        """Return how long a WAV of this folder is."""
        info = soundfile.info(self.folder / name)
        return float(info.frames / info.samplerate)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader with an empty home and the programs the page takes for granted."""
    folder = tmp_path_factory.mktemp("reader")
    programs = folder / "bin"
    programs.mkdir()
    program = _PROGRAM.format(python=sys.executable)
    for name, text in {"sovits-live": program, "some-llm": _LLM, "pacat": _PLAYER}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "home").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SOVITS_")}
    environment = {
        **kept,
        "HOME": str(folder / "home"),
        "XDG_DATA_HOME": str(folder / "home" / "data"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{programs}{os.pathsep}{kept['PATH']}",
        "SOVITS_SERVER_PORT": str(free_port()),
    }
    return Reader(folder, environment)


def serve_command() -> str:
    """Return the second half of the page's first command."""
    return block_with("README.md", "pip install . &&").commands[0].partition(" && ")[2]


async def test_speak_clone_and_stream(reader: Reader) -> None:
    """The doctor is content; text, a pipe and a cloned voice are spoken; the client streams.

    The voice is added beside the running server, which takes it in by itself.
    """
    doctor = reader.run(block_with("README.md", "sovits-live doctor").code)
    assert "ready to serve" in doctor
    write_wav(reader.folder / "reference.wav", speechlike(4, seed=1))
    with reader.serving(serve_command()) as log:
        reader.run(block_with("README.md", 'sovits-live say "你好').code)
        assert 0.5 < reader.seconds("hello.wav") < 15
        played = list((reader.folder / "home").glob("played-*.raw"))
        assert len(played) == 2 and all(path.stat().st_size > 20_000 for path in played)

        add, say = block_with("README.md", "sovits-live voice add").commands
        reader.run(add)
        deadline = time.monotonic() + 30
        while "voices were read again" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            await asyncio.sleep(0.05)
        reader.run(say)
        assert 0.3 < reader.seconds("mia.wav") < 15
        await stream(reader)


async def stream(reader: Reader) -> None:
    """Run the page's Python, with a language model of three tokens."""
    code = block_with("README.md", "from clients.stream_client").code
    port = reader.environment["SOVITS_SERVER_PORT"]
    code = code.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    code = code.replace("        ...  #", "        received.append(event)  #")
    body = textwrap.indent(code, "    ")
    space: dict[str, object] = {}
    exec(f"async def snippet(llm, received):\n{body}", space)  # noqa: S102

    async def tokens() -> AsyncIterator[str]:
        for token in ("Hello, ", "my ", "friend."):
            await asyncio.sleep(0.01)
            yield token

    received: list[object] = []
    await space["snippet"](tokens(), received)  # type: ignore[operator]
    kinds = [type(event).__name__ for event in received]
    assert kinds.count("AudioPacket") > 10 and kinds[-1] == "ContextDone"


def test_mark_and_detect(reader: Reader) -> None:
    """What the server with a key speaks is found in an MP3 of it, and exits with 0."""
    make, serve, detect = block_with("README.md", "sovits-live watermark new-key").commands
    reader.run(make)
    with reader.serving(serve) as log:
        assert "watermark of your key" in log.read_text()
        reader.run(f'sovits-live say "{_TEN_SECONDS}" --out marked.wav')
    samples, rate_hz = soundfile.read(reader.folder / "marked.wav")
    soundfile.write(reader.folder / "recording.mp3", samples, rate_hz)
    assert "recording.mp3: marked with this key" in reader.run(detect)


def test_use_your_own_weights(reader: Reader, fixtures_dir: Path) -> None:
    """Files in the official format are imported, exported and served."""
    request = tiny_request(fixtures_dir, reader.folder / "official", "v2")
    pretrained = reader.folder / "GPT_SoVITS" / "pretrained_models"
    assert request.hubert and request.bert
    shutil.copytree(request.hubert, pretrained / "chinese-hubert-base")
    shutil.copytree(request.bert, pretrained / "chinese-roberta-wwm-ext-large")
    shutil.copyfile(request.gpt, reader.folder / "my-e15.ckpt")
    shutil.copyfile(request.sovits, reader.folder / "my_e8_s216.pth")
    make, export, serve = block_with("README.md", "sovits-live model import").commands
    assert "mine: v2," in reader.run(make)
    assert "done in" in reader.run(export)
    with reader.serving(serve) as log:
        assert "pack     mine (v2," in log.read_text()


def test_use_the_official_weights(reader: Reader, fixtures_dir: Path) -> None:
    """Fetched from a hub, imported, exported and served; what it costs is said."""
    request = tiny_request(fixtures_dir, reader.folder / "hub", "v2ProPlus")
    assert request.hubert and request.bert and request.speaker
    found = [("gpt", request.gpt), ("sovits", request.sovits), ("speaker", request.speaker)]
    for role, folder in (("hubert", request.hubert), ("bert", request.bert)):
        found += [(role, path) for path in sorted(folder.iterdir())]
    listed = [
        (role, f"{role}/{path.name}", hash_file(path), path.stat().st_size) for role, path in found
    ]
    (reader.folder / "files.json").write_text(json.dumps(listed))
    reader.environment["TEST_HUB_FILES"] = str(reader.folder / "files.json")
    pull, serve = block_with("README.md", "sovits-live model pull").commands
    content = {
        name: path.read_bytes() for (_, name, *_), (_, path) in zip(listed, found, strict=True)
    }
    with serving(Hub(content)) as hub:
        reader.environment["TEST_HUB_URL"] = hub.url
        pulled = reader.run(pull)
    assert "fetched and imported in" in pulled and "done in" in pulled
    with reader.serving(serve) as log:
        assert "pack     v2ProPlus (v2ProPlus," in log.read_text()
