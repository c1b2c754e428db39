"""`sovits-live watermark`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.audio.watermark import Watermark
from engine.audio.watermark_key import WatermarkKey
from server.cli import main
from tests.speechlike import speechlike, write_wav

RATE_HZ = 24000


@pytest.fixture
def key_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A key the command made."""
    path = tmp_path / "key"
    assert main(["watermark", "new-key", str(path)]) == 0
    assert f"server.watermark_key_file={path}" in capsys.readouterr().out
    return str(path)


def recording(tmp_path: Path, key_file: str | None) -> str:
    """Write 4 s, marked if there is a key."""
    samples = speechlike(4, RATE_HZ)
    if key_file is not None:
        samples = Watermark(WatermarkKey.read(Path(key_file)), RATE_HZ).start().process(samples)
    return str(write_wav(tmp_path / f"{'marked' if key_file else 'plain'}.wav", samples, RATE_HZ))


def test_detect_tells_by_text_and_status(
    tmp_path: Path, key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and the place for a marked file, 1 for another."""
    marked, plain = recording(tmp_path, key_file), recording(tmp_path, None)
    assert main(["watermark", "detect", marked, "--key-file", key_file]) == 0
    out = capsys.readouterr().out
    assert "marked with this key, best at 0 to 4 s (score " in out and "below 1e-06" in out
    assert main(["watermark", "detect", plain, "--key-file", key_file]) == 1
    assert "plain.wav: no mark of this key (score " in capsys.readouterr().out


def test_json_has_everything(
    tmp_path: Path, key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The threshold is that of the false alarms asked for."""
    command = ["watermark", "detect", recording(tmp_path, key_file), "--key-file", key_file]
    assert main([*command, "--json", "--false-alarm", "1e-9"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["is_marked"] is True and body["score"] > body["threshold"] > 7.9
    assert (body["false_alarm"], body["start_s"], body["end_s"]) == (1e-9, 0.0, 4.0)
    assert body["file"].endswith("marked.wav")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new-key", "{key}"], "is there already and stays"),
        (["detect", "{dir}/none.wav", "--key-file", "{key}"], "none.wav: No such file"),
        (["detect", "{key}", "--key-file", "{key}"], "cannot be decoded"),
        (["detect", "{wav}", "--key-file", "{wav}"], "is not a watermark key"),
        (["detect", "{wav}", "--key-file", "{dir}/none"], "watermark new-key FILE"),
        (["detect", "{wav}", "--key-file", "{key}", "--false-alarm", "2"], "less than 1"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_status_2(
    tmp_path: Path,
    key_file: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """Never 1: that means that there is no mark."""
    names = {"key": key_file, "dir": str(tmp_path), "wav": recording(tmp_path, None)}
    assert main(["watermark", *(word.format(**names) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
