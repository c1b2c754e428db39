"""Backends by name: what is unknown, what is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace

import pytest

from engine.backends import registry
from engine.backends.registry import BACKENDS, check_available
from engine.errors import BackendUnavailable, InvalidParameter


def test_an_unknown_name_lists_the_valid_ones() -> None:
    """No fallback to another backend."""
    valid = ", ".join(sorted(BACKENDS))
    with pytest.raises(InvalidParameter) as info:
        check_available("cuda")
    assert str(info.value) == f"backend is 'cuda', valid: {valid}"


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the package and the command that brings it."""
    entry = replace(BACKENDS["torch"], packages=("torch", "no_such_runtime"))
    monkeypatch.setattr(registry, "BACKENDS", {"torch": entry})
    with pytest.raises(
        BackendUnavailable,
        match=r"the torch backend needs no_such_runtime, .* pip install 'sovits-live\[torch\]'",
    ):
        check_available("torch")


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_entries_point_at_modules_of_the_engine(name: str) -> None:
    """Every registered backend exists."""
    module = BACKENDS[name].module
    assert module.startswith("engine.backends.")
    assert importlib.util.find_spec(module) is not None


def test_the_serving_path_imports_no_torch() -> None:
    """Registry, sampler and noise load where torch is not installed."""
    code = (
        "import sys; import engine.backends.registry, engine.sampling, engine.noise, "
        "engine.audio.fbank, engine.audio.mel, engine.models.official_t2s, "
        "engine.models.official_reference; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
