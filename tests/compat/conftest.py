"""The SDKs' own venv and one running server for all of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.rivals.serving import free_port

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_START_S = 120


@pytest.fixture(scope="session")
def sdk_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has the SDKs: SOVITS_COMPAT_PYTHON, else a venv made now."""
    given = os.environ.get("SOVITS_COMPAT_PYTHON")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("sdks")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    requirements = str(_HERE / "requirements.txt")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return python


@pytest.fixture(scope="session")
def server_settings() -> list[str]:
    """Return how the server is set: the pack SOVITS_COMPAT_PACK, else tones."""
    pack = os.environ.get("SOVITS_COMPAT_PACK")
    return [f"engine.pack={pack}"] if pack else ["engine.backend=fake"]


@pytest.fixture(scope="session")
def wyoming_port() -> int:
    """Return a port that is free."""
    return free_port()


@contextmanager
def running(folder: Path, settings: Sequence[str]) -> Iterator[str]:
    """Run a server with `--set` settings; its address."""
    log = folder / "log"
    command = [sys.executable, "-m", "server", "--port", "0"]
    for setting in settings:
        command += ["--set", setting]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            found = re.search(r"https?://\S+", line)
            assert found, f"{line}{log.read_text()}"
            yield found[0]
        finally:
            process.terminate()
            process.communicate(timeout=_START_S)


@pytest.fixture(scope="session")
def server_url(
    server_settings: list[str], wyoming_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Return the address of a server with everything real but, perhaps, the voice."""
    wyoming = f"dialects.wyoming_port={wyoming_port}"
    with running(tmp_path_factory.mktemp("server"), [*server_settings, wyoming]) as url:
        yield url


@pytest.fixture
def tls_server(server_settings: list[str], tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return the address of a server with TLS, and the certificate to trust."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    tls = [f"server.tls_cert={cert}", f"server.tls_key={key}"]
    with running(tmp_path, [*server_settings, *tls]) as url:
        yield url.replace("127.0.0.1", "localhost"), cert
