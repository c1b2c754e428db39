"""HuBERT from a pack's settings against upstream's features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoint import FileKind, read_official
from engine.models.hubert import Hubert
from engine.models.official_reference import hubert_from_official
from tests.numerics import STAGE, assert_close


@pytest.fixture(scope="module")
def golden(fixtures_dir: Path) -> Hubert:
    torch.set_num_threads(1)
    file = read_official(fixtures_dir / "tiny_hubert", FileKind.HUBERT)
    assert any(name.endswith("weight_g") for name in file.tensors), "old weight-norm names"
    config, weights = hubert_from_official(file.tensors, file.config or {})
    model = Hubert(config.settings)
    model.network.load_state_dict({n: torch.from_numpy(w).float() for n, w in weights.items()})
    return model


@pytest.mark.parity
@torch.inference_mode()
def test_features_equal_upstream(golden: Hubert, fixtures_dir: Path) -> None:
    """The golden wave and its silence, not normalised: front end and last hidden state."""
    data = np.load(fixtures_dir / "front.npz")
    samples = torch.from_numpy(np.pad(data["wav16k"], ((0, 0), (0, 1600))))
    assert_close(golden.network.feature_extractor(samples), data["hubert_conv"], STAGE, "conv")
    expected = data["hubert_last_hidden"].transpose(0, 2, 1)
    assert_close(golden(samples), expected, STAGE, "hidden")


@pytest.mark.parity
@torch.inference_mode()
def test_the_wave_is_not_normalised(golden: Hubert, fixtures_dir: Path) -> None:
    """A tenfold louder wave gives other features, as it does upstream."""
    samples = torch.from_numpy(np.load(fixtures_dir / "front.npz")["wav16k"])
    normalised = (samples - samples.mean()) / samples.std()
    assert (golden(samples) - golden(normalised)).abs().max() > 1e-2


@pytest.mark.parity
def test_features_do_not_change_from_run_to_run(golden: Hubert, fixtures_dir: Path) -> None:
    """Eval mode: no masking, no dropped layer."""
    samples = torch.from_numpy(np.load(fixtures_dir / "front.npz")["wav16k"])
    with torch.inference_mode():
        assert torch.equal(golden(samples), golden(samples))
