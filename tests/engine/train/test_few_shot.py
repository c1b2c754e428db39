"""A voice from recordings, on a tiny pack: end to end, killed and resumed, and refused."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest
import torch

from engine.backends.reference import Reference
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.pack import Part, load_pack
from engine.text.frontend import Frontend
from engine.train import command
from engine.train.acoustic import AcousticStage
from engine.train.few_shot import FewShot, tune
from engine.train.prepare import prepare
from engine.train.recordings import listed
from engine.train.store import FeatureStore
from engine.voices import PackVoices
from tests.micro_pack import bare_pack
from tests.speechlike import silence, speechlike, write_wav

RATE_HZ = 24000
TEXT = "The lighthouse keeper wrote every ship."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a tiny pack, and six recordings with a list."""
    monkeypatch.setenv("SOVITS_DATA", str(tmp_path / "data"))
    bare_pack(tmp_path / "data" / "packs")
    folder = tmp_path / "in"
    folder.mkdir()
    lines = []
    for number in range(6):
        wave = speechlike(3.6, RATE_HZ, pitch_hz=120 + 5 * number, seed=number)
        write_wav(folder / f"r{number}.wav", wave, RATE_HZ)
        lines.append(f"r{number}.wav|me|en|{TEXT}")
    (folder / "list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def _train(home: Path, work: str = "work", *options: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = ["voice", "me", str(home / "in"), "--pack", "micro", "--work", str(home / work)]
    steps = ["--acoustic-steps", "8", "--t2s-steps", "4", "--batch-size", "2"]
    return command.run(parser.parse_args([*arguments, *steps, *options]))


@pytest.mark.slow
def test_voice_is_trained_enrolled_and_reported(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pack, voice and page are there; bad recordings are named and did not stop it."""
    write_wav(home / "in" / "s.wav", silence(3.0, RATE_HZ), RATE_HZ)
    (home / "in" / "d.wav").write_bytes(b"RIFF0000WAVEnonsense")
    with (home / "in" / "list.txt").open("a") as listing:
        listing.write(f"s.wav|me|en|{TEXT}\nd.wav|me|en|{TEXT}\nnonsense\n")
    assert _train(home) == 0
    base, made = (load_pack(home / "data" / "packs" / name) for name in ("micro", "me"))
    for part in (Part.SSL, Part.SPEAKER):
        before, after = base.tensors(part), made.tensors(part)
        assert all(
            (abs(before[n] - after[n]) <= 1e-3 * abs(before[n]) + 1e-6).all() for n in before
        )
    voices = PackVoices(made, home / "data" / "voices")
    assert len(voices.style("me", "default").prompt_tokens) > 0
    page = (home / "work" / "me" / "report.html").read_text(encoding="utf-8")
    for expected in ("s.wav", "d.wav", "list.txt:9", "zero-shot", "fine-tuned", "Held-out loss"):
        assert expected in page, expected
    out = capsys.readouterr().out
    assert "skipped d.wav" in out and "sovits-live export" in out


@pytest.mark.slow
def test_killed_training_goes_on_to_the_same_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stages, after a kill in the middle of the first, come to the bits of an unbroken run."""
    pack = load_pack(home / "data" / "packs" / "micro")
    config = EngineConfig("torch", pack.path, num_slots=1)
    encoder = create_backend("torch", pack, config).reference
    assert isinstance(encoder, Reference)
    sources = listed(home / "in", home / "in" / "list.txt").sources
    store = FeatureStore(home / "whole" / "features")
    frontend = Frontend(pack.symbol_set)
    prepare(sources, store, encoder, frontend, pack.config.acoustic)
    shutil.copytree(home / "whole" / "features", home / "cut" / "features")
    plan = FewShot("me", acoustic_steps=8, t2s_steps=4, batch_size=2)
    whole = tune(home / "whole", pack, plan, lambda *_: None)
    step = AcousticStage.step

    def killed(stage: AcousticStage, number: int) -> object:
        if number == 5:
            raise KeyboardInterrupt
        return step(stage, number)

    with monkeypatch.context() as patched:
        patched.setattr(AcousticStage, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(home / "cut", pack, plan, lambda *_: None)
    again = tune(home / "cut", pack, plan, lambda *_: None)
    assert again.outcomes == whole.outcomes
    for first, second in ((whole.acoustic, again.acoustic), (whole.t2s, again.t2s)):
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_nothing_usable_and_other_settings_are_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr and exit status 1; nothing is trained."""
    (home / "in" / "list.txt").write_text("gone.wav|me|en|hello\n", encoding="utf-8")
    assert _train(home) == 1
    assert "no recording can be used (7 skipped" in capsys.readouterr().err
    assert _train(home, "work", "--denoise") == 1
    assert "was begun with denoise False" in capsys.readouterr().err
    assert not (home / "data" / "packs" / "me").exists()


def test_settings_are_checked() -> None:
    """A negative number of steps is no plan."""
    with pytest.raises(Exception, match="acoustic_steps is -1"):
        FewShot("me", acoustic_steps=-1)
