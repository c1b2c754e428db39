"""What a stranger does first, on this machine: the README's first command in a new environment.

Makes a venv with an empty pip cache and an empty home, runs the first block of README.md in it,
waits until the server is ready, lets `sovits-live say` speak Chinese and English, stops the server
with Ctrl-C, and prints what it cost. Exit status 1 and a reason if anything is not as promised.

    python .ci/first_minute.py [--json FILE] [--judge PYTHON]

With --judge a recogniser listens, in an environment that has the extra `judges`; each sentence is
spoken three times, as each time is another reading, and more errors than --most-errors in the
middle one are a failure.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

ROOT = Path(__file__).parents[1]
SENTENCES = {"zh": "你好，欢迎来到直播间。", "en": "Hello, and welcome."}
_READINGS = 3
_INSTALL_LIMIT_S, _START_LIMIT_S, _SAY_LIMIT_S, _STOP_LIMIT_S = 600, 180, 120, 60
_JUDGE_LIMIT_S = 900


class Broken(Exception):
    """Something is not as the README says."""


def first_command() -> tuple[str, str]:
    """Return the two halves of the README's first block: the install and the start."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    if block is None:
        raise Broken("README.md has no bash block")
    install, _, start = block.group(1).strip().partition(" && ")
    return install, start


def free_port() -> int:
    """Return a port that was free a moment ago.

    Not that of `bench`: this file runs before anything of ours is installed.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Stranger:
    """A home, an environment and a port of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = folder / "venv"
        self.port = free_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SOVITS_", "PYTHON"))}
        self.environment = {
            **kept,
            "HOME": str(folder / "home"),
            "XDG_DATA_HOME": "",
            "PATH": f"{self.venv / 'bin'}{os.pathsep}{kept.get('PATH', '')}",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "SOVITS_SERVER_PORT": str(self.port),
        }
        (folder / "home").mkdir()

    def shell(self, command: str, limit_s: float) -> str:
        """Run a command in the checkout; return what it printed."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if done.returncode != 0:
            raise Broken(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr


def install(stranger: Stranger, command: str) -> dict[str, float]:
    """Run the first half; return seconds and megabytes."""
    subprocess.run([sys.executable, "-m", "venv", str(stranger.venv)], check=True)
    before = size_mb(stranger.venv)
    started = time.monotonic()
    stranger.shell(command, _INSTALL_LIMIT_S)
    seconds = time.monotonic() - started
    stranger.shell("! python -c 'import torch' 2>/dev/null", 60)
    return {"install_s": round(seconds, 1), "disk_mb": round(size_mb(stranger.venv) - before)}


def size_mb(folder: Path) -> float:
    """Return what a folder takes on disk."""
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*")) / 1e6


def speak(stranger: Stranger, command: str) -> dict[str, float]:
    """Start the server as the README says, speak, stop it with Ctrl-C."""
    log = stranger.folder / "serve.log"
    figures: dict[str, float] = {}
    started = time.monotonic()
    with log.open("w") as output:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=ROOT,
            env=stranger.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while "sovits-live is ready" not in log.read_text():
            if server.poll() is not None or time.monotonic() - started > _START_LIMIT_S:
                raise Broken(f"{command} did not become ready:\n{log.read_text()}")
            time.sleep(0.05)
        figures["start_s"] = round(time.monotonic() - started, 1)
        for language, text in SENTENCES.items():
            readings = [say(stranger, language, text, number) for number in range(_READINGS)]
            figures |= readings[0]
        stopping = time.monotonic()
        server.send_signal(signal.SIGINT)
        if (status := server.wait(_STOP_LIMIT_S)) != 0:
            raise Broken(f"after Ctrl-C the server ended with status {status}:\n{log.read_text()}")
        figures["stop_s"] = round(time.monotonic() - stopping, 1)
    finally:
        server.kill()
        server.wait()
    if "Traceback" in log.read_text():
        raise Broken(f"the server's log has a traceback:\n{log.read_text()}")
    return figures


def say(stranger: Stranger, language: str, text: str, number: int) -> dict[str, float]:
    """Let `sovits-live say` write a file; return its figures."""
    target = stranger.folder / f"{language}-{number}.wav"
    url = f"ws://127.0.0.1:{stranger.port}"
    printed = stranger.shell(f"sovits-live say '{text}' --url {url} --out {target}", _SAY_LIMIT_S)
    with wave.open(str(target), "rb") as file:
        seconds = file.getnframes() / file.getframerate()
        samples = array.array("h", file.readframes(file.getnframes()))
    loudness = (sum(s * s for s in samples) / max(len(samples), 1)) ** 0.5 / 32768
    if not 0.5 < seconds < 15 or loudness < 0.005:
        raise Broken(f"{text}: {seconds:.2f} s of audio, RMS {loudness:.4f}")
    first = re.search(r"first packet after (\d+) ms", printed)
    return {
        f"{language}_first_packet_ms": float(first.group(1)) if first else float("nan"),
        f"{language}_audio_s": round(seconds, 2),
    }


_JUDGE = """
import sys
import soundfile, soxr
from bench.quality.judges import RATE_HZ, Whisper
from bench.quality.text_scores import errors, pinyin_errors
from engine.types import Language

path, language, text = sys.argv[1:]
samples, rate_hz = soundfile.read(path, dtype="float32")
heard = Whisper().transcribe(soxr.resample(samples, rate_hz, RATE_HZ), Language(language))
found = (pinyin_errors if language == "zh" else errors)([text], heard)
print(f"{found.rate:.3f} {heard}")
"""


def judge(python: str, wav: Path, language: str, text: str) -> tuple[float, str]:
    """Let a recogniser listen; return its error rate (syllables or words) and what it heard."""
    command = [python, "-c", _JUDGE, str(wav), language, text]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_JUDGE_LIMIT_S
    )
    if done.returncode != 0:
        raise Broken(f"the recogniser failed:\n{done.stderr}")
    rate, _, heard = done.stdout.strip().partition(" ")
    return float(rate), heard


def judge_all(python: str, folder: Path, most: float) -> dict[str, float]:
    """Judge what was spoken; raise where more than `most` of it is wrong."""
    figures = {}
    for language, text in SENTENCES.items():
        wavs = [folder / f"{language}-{number}.wav" for number in range(_READINGS)]
        heard = sorted(judge(python, wav, language, text) for wav in wavs)
        rate = heard[len(heard) // 2][0]
        figures[f"{language}_error_rate"] = rate
        if rate > most:
            raise Broken(f"{text} was heard as {heard}: median error rate {rate}, at most {most}")
    return figures


def git_commit() -> str:
    """Return the commit of this checkout; "" if it is none."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> int:
    """Do it all; print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--judge", metavar="PYTHON", help="interpreter with the extra judges")
    parser.add_argument("--most-errors", type=float, default=0.3, help="of words or syllables")
    arguments = parser.parse_args()
    to_install, to_start = first_command()
    with tempfile.TemporaryDirectory(prefix="first-minute-") as folder:
        stranger = Stranger(Path(folder))
        try:
            figures = install(stranger, to_install) | speak(stranger, to_start)
            if arguments.judge:
                figures |= judge_all(arguments.judge, stranger.folder, arguments.most_errors)
        except (Broken, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    result = {
        "command": f"{to_install} && {to_start}",
        "date": time.strftime("%Y-%m-%d"),
        "git": git_commit(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        **figures,
    }
    text = json.dumps(result, indent=1)
    sys.stdout.write(f"{text}\n")
    if arguments.json:
        arguments.json.write_text(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
