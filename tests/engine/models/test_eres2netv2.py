"""The speaker network against upstream's embedding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.audio.fbank import kaldi_fbank
from engine.checkpoint import FileKind, read_official
from engine.models.eres2netv2 import ERes2NetV2
from engine.models.official_reference import eres2netv2_from_official
from tests.numerics import STAGE, assert_close
from tests.tiny_packs import unpacked


@pytest.fixture(scope="module")
def golden(fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ERes2NetV2:
    torch.set_num_threads(1)
    source = next(fixtures_dir.glob("tiny_eres2netv2*"))
    file = read_official(unpacked(source, tmp_path_factory.mktemp("sv")), FileKind.SPEAKER)
    config, weights = eres2netv2_from_official(file.tensors)
    network = ERes2NetV2(config.settings)
    network.load_state_dict(
        {name: torch.from_numpy(w.astype(np.float32)) for name, w in weights.items()}
    )
    assert config.dim == np.load(fixtures_dir / "front.npz")["sv_emb"].shape[1]
    return network


@pytest.mark.parity
@torch.inference_mode()
def test_embedding_equals_upstream(golden: ERes2NetV2, fixtures_dir: Path) -> None:
    """From the golden filter bank, and from ours."""
    data = np.load(fixtures_dir / "front.npz")
    for frames in (data["fbank"], kaldi_fbank(data["wav16k"][0])):
        assert_close(golden(torch.from_numpy(frames)[None]), data["sv_emb"], STAGE, "sv_emb")


@pytest.mark.parity
@torch.inference_mode()
def test_the_blocks_saturate(golden: ERes2NetV2) -> None:
    """Their ReLU stops at 20: a thousandfold louder input must not pass through linearly."""
    frames = torch.randn(1, 60, 80, generator=torch.Generator().manual_seed(0)) * 1000
    block = golden.stages[0][0]
    assert block(golden.stem(frames.transpose(1, 2).unsqueeze(1))).max() == 20.0


def test_full_size_has_the_published_number_of_parameters() -> None:
    """w24s4ep4: 53.514 M in the file, of which 7.864 M are pooling and embedding layers."""
    with torch.device("meta"):
        network = ERes2NetV2(
            {
                "channels": 64,
                "expansion": 4,
                "scale": 4,
                "stages": [[24, 3], [48, 4], [96, 6], [192, 3]],
            }
        )
    count = sum(p.numel() for p in network.parameters())
    unused = 2 * 20480 * 192 + 192
    assert round((count + unused) / 1e6, 2) == 53.51
