"""The engine's part of the GPU acceptance, on engines that need no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.backends.fake import FakeScript
from engine.backends.tensorrt_device import Device
from engine.config import EngineConfig
from engine.errors import SovitsError
from engine.gpu_acceptance import accept, engine_checks
from tests.micro_pack import micro_pack


def has_gpu() -> bool:
    try:
        Device()
    except SovitsError:
        return False
    return True


async def test_an_engine_that_speaks_passes() -> None:
    """First chunks are timed; the soak counts what was spoken and what was cancelled."""
    config = EngineConfig(backend="fake", fake=FakeScript(step_s=0.001))
    first, soaked = await engine_checks(config, 0.3, lambda: 1000)
    assert (first.name, soaked.name) == ("first chunk", "soak")
    assert first.passed and "n=20" in first.detail
    assert soaked.passed and "cancelled, memory +0.0%" in soaked.detail
    assert not soaked.detail.startswith("0 spoken")


async def test_memory_that_goes_is_a_failure() -> None:
    """A tenth of the free memory gone between the first tenth of the soak and its end."""
    left = iter([1000, 900])
    _, soaked = await engine_checks(EngineConfig(backend="fake"), 0.2, lambda: next(left))
    assert not soaked.passed and "memory +10.0%" in soaked.detail


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_it_ends_with_the_reason(tmp_path: Path) -> None:
    """Before anything is built or spoken."""
    (only,) = accept(micro_pack(tmp_path), "tensorrt_rtx", soak_s=1.0)
    assert not only.passed and "CUDA" in only.detail


@pytest.mark.gpu
@pytest.mark.timeout(1800)
def test_a_gpu_passes_all_of_it(tmp_path: Path) -> None:
    """Networks, then first chunk and soak."""
    checks = list(accept(micro_pack(tmp_path), "tensorrt_rtx", soak_s=20.0))
    assert [c.name for c in checks if c.passed][-2:] == ["first chunk", "soak"], checks
