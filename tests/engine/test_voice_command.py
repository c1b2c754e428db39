"""The `voice` subcommand end to end, as a user runs it, with a real model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import engine
from engine.pack import Pack, load_pack
from engine.types import Language
from engine.voices import PackVoices, VoiceStore
from server.cli import main
from tests.speechlike import noise, speechlike, write_wav
from tests.tiny_packs import tiny_pack

NANO = Path(engine.__file__).parent / "bundled" / "nano"
TEXT = "你好，欢迎来到直播间。"


@pytest.fixture(scope="module")
def pack(fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The tiny v2Pro model."""
    torch.set_num_threads(1)
    return tiny_pack(fixtures_dir, tmp_path_factory.mktemp("command"), "v2Pro")


@pytest.fixture
def where(pack: Pack, tmp_path: Path) -> list[str]:
    """Options that keep the test in its own folders."""
    return ["--voices-dir", str(tmp_path / "voices")]


@pytest.fixture
def wav(tmp_path: Path) -> str:
    """A usable reference."""
    return str(write_wav(tmp_path / "ref.wav", speechlike(4, seed=1)))


def _add(pack: Pack, wav: str, where: list[str], *more: str) -> int:
    packs = ["--packs-dir", str(pack.path.parent)]
    return main(
        ["voice", "add", "anna", wav, "--text", TEXT, "--lang", "zh", *more, *where, *packs]
    )


def test_life_of_a_voice(
    pack: Pack, wav: str, where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Added, listed, shown, given a style, spoken with by an engine, removed."""
    assert _add(pack, wav, where, "--consent", "Anna, 2026") == 0
    assert "manner: ref.wav 0.0-4.0 s" in capsys.readouterr().out
    other = str(write_wav(tmp_path / "happy.wav", speechlike(5, seed=2)))
    style = [
        "voice",
        "style",
        "add",
        "anna",
        "happy",
        other,
        "--text",
        "Welcome to the show today.",
    ]
    style += ["--lang", "en", "--packs-dir", str(pack.path.parent), *where]
    assert main(style) == 0
    assert main(style) == 1
    assert "has a style 'happy'" in capsys.readouterr().err
    assert main(["voice", "list", *where]) == 0
    assert capsys.readouterr().out.startswith("anna  zh  default happy  tiny-v2Pro")
    assert main(["voice", "show", "anna", *where]) == 0
    shown = capsys.readouterr().out
    assert "consent: Anna, 2026" in shown and TEXT in shown
    assert main(["voice", "show", "anna", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["styles"]["happy"]["language"] == "en"
    voices = PackVoices(load_pack(pack.path), tmp_path / "voices")
    assert voices.style("anna", "happy").language is Language.EN
    assert not (tmp_path / "voices" / "anna" / "references").exists()
    assert main(["voice", "remove", "anna", *where]) == 0
    assert list((tmp_path / "voices").iterdir()) == []


def test_voices_of_the_pack_are_listed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has made none yet learns what there is to speak with."""
    monkeypatch.setattr("engine.paths.BUNDLED", NANO.parent)
    monkeypatch.setenv("SOVITS_DATA", str(tmp_path))
    assert main(["voice", "list", "--voices-dir", str(tmp_path / "voices")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("no voice in ") and "anna  comes with nano\n" in printed


def test_same_recording_gives_the_same_voice(
    pack: Pack, wav: str, where: list[str], tmp_path: Path
) -> None:
    """Enrolment has no chance in it, and --replace is needed to do it twice."""
    store = VoiceStore(tmp_path / "voices")
    assert _add(pack, wav, where) == 0
    first = store.load("anna").styles["default"]
    assert _add(pack, wav, where) == 1
    assert _add(pack, wav, where, "--replace") == 0
    second = store.load("anna").styles["default"]
    assert first is not second
    np.testing.assert_array_equal(first.vector, second.vector)
    np.testing.assert_array_equal(first.prompt_tokens, second.prompt_tokens)


def test_several_references_style_reference_and_kept_audio(
    pack: Pack, wav: str, where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two timbre recordings, the manner from a third, everything kept because it was asked for."""
    second = str(write_wav(tmp_path / "b.wav", speechlike(5, seed=3)))
    manner = str(write_wav(tmp_path / "c.wav", speechlike(4, seed=4) + noise(4, level=0.001)))
    more = [second, "--style-ref", manner, "--keep-audio", "--denoise"]
    status = main(
        ["voice", "add", "anna", wav, *more, "--text", TEXT, "--lang", "zh", "--pack"]
        + [str(pack.path), *where]
    )
    assert status == 0
    out = capsys.readouterr().out
    assert "manner: c.wav" in out and "timbre: ref.wav" in out and "timbre: b.wav" in out
    kept = sorted(p.name for p in (tmp_path / "voices" / "anna" / "references").iterdir())
    assert kept == ["default-1.wav", "default-2.wav", "default-3.wav"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Anna", "{wav}"], "voice is 'Anna'"),
        (["anna", "/nowhere/x.wav"], "No such file"),
        (["anna", "{short}"], "short.wav: 1.0 s is too short"),
        (["anna", "{wav}", "--text", "好"], "exactly what is said"),
        (["anna", "{wav}", "--pack", "nobody"], "there is no pack 'nobody'; there are: tiny-v2Pro"),
        (["anna", "{wav}", "--backend", "abacus"], "backend is 'abacus'"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    pack: Pack,
    wav: str,
    where: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """Each mistake has its message and status 1; no voice appears."""
    short = str(write_wav(tmp_path / "short.wav", speechlike(1)))
    given = [argument.format(wav=wav, short=short) for argument in arguments]
    packs = ["--packs-dir", str(pack.path.parent)]
    assert main(["voice", "add", *given, *where, *packs]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "voices").exists()


def test_unknown_voice_lists_the_others(
    where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Show and remove of a voice that is not there."""
    for action in ("show", "remove"):
        assert main(["voice", action, "eva", *where]) == 1
        assert "there is no voice 'eva'; there are: none" in capsys.readouterr().err
    assert main(["voice", "list", *where]) == 0
    assert "voice add --help" in capsys.readouterr().out
