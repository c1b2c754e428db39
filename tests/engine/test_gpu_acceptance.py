"""The engine's part of the GPU acceptance, on engines that need no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.backends.fake import FakeScript
from engine.backends.tensorrt_device import Device
from engine.config import EngineConfig
from engine.errors import SovitsError
from engine.gpu_acceptance import accept, engine_checks
from tests.host_tensorrt import host_tensorrt
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


def config_of(folder: Path) -> EngineConfig:
    return EngineConfig("tensorrt_rtx", micro_pack(folder).path, num_slots=3, max_positions=300)


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_it_ends_with_the_reason(tmp_path: Path) -> None:
    """Before anything is built or spoken."""
    (only,) = accept(config_of(tmp_path), soak_s=1.0)
    assert not only.passed and "CUDA" in only.detail


def test_it_fits_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, with the worker and its two lanes, over runtimes of the host."""
    _, built = host_tensorrt(monkeypatch)
    checks = list(accept(config_of(tmp_path), soak_s=0.5))
    assert [c.name for c in checks if c.passed][-3:] == ["step time", "first chunk", "soak"], checks
    assert "0 failed" not in checks[-1].detail and not checks[-1].detail.startswith("0 spoken")
    assert len(built) == 7  # what was checked is what speaks: nothing is compiled for it again


@pytest.mark.gpu
@pytest.mark.timeout(1800)
def test_a_gpu_passes_all_of_it(tmp_path: Path) -> None:
    """Networks, then first chunk and soak."""
    checks = list(accept(config_of(tmp_path), soak_s=20.0))
    assert [c.name for c in checks if c.passed][-2:] == ["first chunk", "soak"], checks
