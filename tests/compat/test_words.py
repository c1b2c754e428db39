"""A recogniser reads what the SDKs received: the words, not only sound.

Run with a pack that speaks: SOVITS_COMPAT_PACK=nano pytest -m compat, with the extra `judges`
installed. What our own `say` gets is read first: a pack whose words cannot be read there, more than
MAX_WER of them wrong, is not intelligible yet and says nothing about the SDKs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from bench.quality.judges import RATE_HZ, Recogniser, Whisper
from bench.quality.text_scores import errors
from engine.audio.resample import resample
from engine.errors import BackendUnavailable
from engine.types import FloatArray, Language
from tests.compat.test_sdks import SDKS, decode, drive

pytestmark = [pytest.mark.compat, pytest.mark.timeout(600)]

TEXT = "Hello there, this is a test. It has two sentences."  # of drivers/clips.py
MAX_WER = 0.3  # of our own client's
SLACK = 0.2  # two words in ten: codecs differ, and every request draws its own seed
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    """Return what reads; skips without a pack or without judges."""
    if not os.environ.get("SOVITS_COMPAT_PACK"):
        pytest.skip("SOVITS_COMPAT_PACK names no pack that speaks")
    try:
        return Whisper()
    except BackendUnavailable as error:
        pytest.skip(str(error))


def word_errors(recogniser: Recogniser, samples: FloatArray, rate_hz: int) -> tuple[float, str]:
    """Return the share of wrong words, and what was read."""
    heard = recogniser.transcribe(resample(samples, rate_hz, RATE_HZ), Language.EN)
    return errors([TEXT], heard).rate, heard


@pytest.fixture(scope="session")
def own_wer(
    recogniser: Recogniser, server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> float:
    """Return how well our own client's audio can be read: the best of three."""
    folder, rates = tmp_path_factory.mktemp("own"), []
    for number in range(3):
        out = folder / f"{number}.wav"
        command = [sys.executable, "-m", "server.cli", "say", TEXT, "--out", str(out)]
        command += ["--url", server_url.replace("http", "ws", 1)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
        samples, rate_hz = soundfile.read(out, dtype="float32")
        rates.append(word_errors(recogniser, samples, rate_hz)[0])
    assert min(rates) <= MAX_WER, rates
    return min(rates)


@pytest.mark.parametrize("name", SDKS)
def test_the_words_can_be_read(
    name: str,
    recogniser: Recogniser,
    own_wer: float,
    sdk_python: Path,
    server_url: str,
    tmp_path: Path,
) -> None:
    """Of every format an SDK asked for; the best clip as well as our own."""
    report = drive(sdk_python, name, server_url, tmp_path)
    found = {clip["name"]: word_errors(recogniser, *decode(clip)) for clip in report["clips"]}
    assert min(rate for rate, _ in found.values()) <= own_wer + SLACK, found
    assert sum(rate for rate, _ in found.values()) / len(found) <= MAX_WER + SLACK, found
