"""The GPU acceptance: stops with a reason where there is no GPU, passes where there is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.backends.tensorrt_check import gpu_check
from engine.backends.tensorrt_device import Device
from engine.backends.tensorrt_semantic import TensorrtSemantic
from engine.config import EngineConfig
from engine.errors import SovitsError
from engine.paths import BUNDLED, DEFAULT
from engine.sampling import Choice, Draw
from engine.types import FloatArray, IntArray
from tests.host_tensorrt import host_tensorrt
from tests.micro_pack import micro_pack


def has_gpu() -> bool:
    try:
        Device()
    except SovitsError:
        return False
    return True


STEPS = ["device", "engines", "T2S", "choice", "decoder", "step time"]


def config_of(folder: Path) -> EngineConfig:
    pack = micro_pack(folder)
    return EngineConfig("tensorrt_rtx", pack.path, num_slots=3, max_positions=200)


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_the_first_step_says_why(tmp_path: Path) -> None:
    """One step, failed, in words."""
    (only,) = gpu_check(config_of(tmp_path))
    assert not only.passed and only.name == "device"
    assert "CUDA" in only.detail


def test_the_steps_fit_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over runtimes of the host; each number of rows that is captured is timed."""
    cuda, _ = host_tensorrt(monkeypatch)
    before = cuda.free
    checks = list(gpu_check(config_of(tmp_path)))
    assert [c.name for c in checks if c.passed] == STEPS, checks
    assert re.fullmatch(
        r"median of rows: ms, 1: \d+\.\d\d, 2: \d+\.\d\d, 3: \d+\.\d\d", checks[-1].detail
    )
    assert cuda.free == before


@pytest.mark.slow
def test_the_pack_that_ships_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In half precision, without another export: the first thing tried on a machine with a GPU."""
    host_tensorrt(monkeypatch)
    target = tmp_path / DEFAULT
    shutil.copytree(BUNDLED / DEFAULT, target)  # engines are kept beside the graphs
    config = EngineConfig("tensorrt_rtx", target, num_slots=2, max_positions=200)
    checks = list(gpu_check(config))
    assert [c.name for c in checks if c.passed] == STEPS, checks


def test_a_slot_of_the_fewest_positions_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one slot: what is configured is what is checked."""
    host_tensorrt(monkeypatch)
    config = replace(config_of(tmp_path), num_slots=1, max_positions=64)
    assert [c.name for c in gpu_check(config) if c.passed] == STEPS


def test_a_pack_for_the_cpu_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the step that needed more, with the command that makes it."""
    host_tensorrt(monkeypatch)
    config = config_of(tmp_path)
    assert config.pack is not None
    path = config.pack / "onnx" / "manifest.json"
    path.write_text(path.read_text().replace('"step_in_place"', '"other"'))
    _, last = gpu_check(config)
    assert (last.name, last.passed) == ("engines", False)
    assert "--for tensorrt" in last.detail


def test_wrong_numbers_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are swapped, for one; the decoder is not reached."""
    host_tensorrt(monkeypatch)
    decode = TensorrtSemantic.decode

    def swapped(semantic: TensorrtSemantic, slots: list[int], tokens: IntArray) -> FloatArray:
        return decode(semantic, slots, tokens)[::-1]

    monkeypatch.setattr(TensorrtSemantic, "decode", swapped)
    *_, last = gpu_check(config_of(tmp_path))
    assert (last.name, last.passed) == ("T2S", False)
    assert "logits differ by" in last.detail


def test_logits_that_are_no_numbers_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN is not less than the limit, nor more."""
    host_tensorrt(monkeypatch)
    nothing = np.full((1, 65), np.nan, np.float32)
    monkeypatch.setattr(TensorrtSemantic, "decode", lambda *given: nothing)
    *_, last = gpu_check(config_of(tmp_path))
    assert (last.name, last.passed, last.detail) == ("T2S", False, "logits differ by inf at most")


def test_wrong_choices_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the rows' draws are swapped on their way."""
    host_tensorrt(monkeypatch)
    real = TensorrtSemantic.choose

    def swapped(
        semantic: TensorrtSemantic, slots: list[int], tokens: IntArray, draws: list[Draw]
    ) -> Sequence[Choice]:
        return real(semantic, slots, tokens, draws[::-1])

    monkeypatch.setattr(TensorrtSemantic, "choose", swapped)
    *_, last = gpu_check(config_of(tmp_path))
    assert (last.name, last.passed) == ("choice", False)
    assert re.fullmatch(r"\d+ of 75 differ from the host's", last.detail)


@pytest.mark.gpu
@pytest.mark.timeout(1800)
def test_a_gpu_passes_every_step(tmp_path: Path) -> None:
    """Device, engines, T2S, choice, decoder, step time."""
    checks = list(gpu_check(config_of(tmp_path)))
    assert [c.name for c in checks if c.passed] == STEPS, checks
