"""The GPU acceptance: stops with a reason where there is no GPU, passes where there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.backends.tensorrt_check import gpu_check
from engine.backends.tensorrt_device import Device
from engine.errors import SovitsError
from tests.micro_pack import micro_pack


def has_gpu() -> bool:
    try:
        Device()
    except SovitsError:
        return False
    return True


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_the_first_step_says_why(tmp_path: Path) -> None:
    """One step, failed, in words."""
    (only,) = gpu_check(micro_pack(tmp_path))
    assert not only.passed and only.name == "BackendUnavailable"
    assert "CUDA" in only.detail


@pytest.mark.gpu
@pytest.mark.timeout(1800)
def test_a_gpu_passes_every_step(tmp_path: Path) -> None:
    """Device, engines, T2S, decoder, step time."""
    checks = list(gpu_check(micro_pack(tmp_path)))
    assert [c.name for c in checks if c.passed] == [
        "device", "engines", "T2S", "decoder", "step time",
    ], checks  # fmt: skip
