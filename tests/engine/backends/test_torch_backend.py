"""The torch backend assembled from a pack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.errors import CheckpointError
from engine.pack import RANDOM_NOTICE, Pack
from tests.numerics import STAGE, assert_close
from tests.tiny_packs import tiny_pack

OPTIONS = EngineConfig(backend="torch", num_slots=2, max_positions=64)


@pytest.fixture(scope="module")
def pack(fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return tiny_pack(fixtures_dir, tmp_path_factory.mktemp("packs"), "v2")


@pytest.mark.parity
def test_a_pack_becomes_a_backend(pack: Pack, fixtures_dir: Path) -> None:
    """Logits are upstream's, the notice and numbers are the pack's, the slots as asked."""
    backend = create_backend("torch", pack, OPTIONS)
    data = np.load(fixtures_dir / "t2s.npz")
    logits = backend.semantic.prefill(1, data["phones"][0], data["bert"][0], data["prompt"][0])
    assert_close(logits, data["logits"][0], STAGE, "prefill")
    for row, token in enumerate(data["forced_tokens"][:-1], start=1):
        logits = backend.semantic.decode([1], np.array([token]))[0]
        assert_close(logits, data["logits"][row], STAGE, f"step {row}")
    assert backend.notice == RANDOM_NOTICE
    assert backend.config == pack.config
    assert (backend.semantic.num_slots, backend.semantic.max_positions) == (2, 64)
    assert backend.acoustic.sample_rate_hz == pack.sample_rate_hz
    assert backend.describe() == {
        "backend": "torch",
        "runtime": f"torch {torch.__version__}",
        "device": "cpu",
        "precision": "float32",
        "threads": "1",
    }


@pytest.mark.parity
def test_threads_are_the_larger_of_both_stages(pack: Pack) -> None:
    """Torch has one number for the process."""
    with patch.object(torch, "set_num_threads") as set_num_threads:
        create_backend("torch", pack, replace(OPTIONS, semantic_threads=2, acoustic_threads=3))
    set_num_threads.assert_called_once_with(3)


@pytest.mark.parity
def test_weights_of_other_sizes_are_refused(pack: Pack) -> None:
    """The message names the part and the remedy."""
    t2s = replace(pack.config.t2s, num_layers=pack.config.t2s.num_layers + 1)
    wrong = replace(pack, config=replace(pack.config, t2s=t2s))
    with pytest.raises(CheckpointError, match=r"t2s weights do not fit .* import the model again"):
        create_backend("torch", wrong, OPTIONS)
