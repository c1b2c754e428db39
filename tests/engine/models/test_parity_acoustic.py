"""Every acoustic stage against the golden arrays of the public implementation."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from tests.golden_acoustic import INPUTS, STAGES, VERSIONS, WHOLE, Golden, load
from tests.numerics import END_TO_END, assert_close

pytestmark = pytest.mark.parity


@functools.cache
def cached(folder: Path, version: str) -> Golden:
    torch.set_num_threads(1)
    return load(folder, version)


@pytest.fixture(params=VERSIONS)
def golden(fixtures_dir: Path, request: pytest.FixtureRequest) -> Golden:
    """Return a version's network and arrays; tests leave it as it is."""
    return cached(fixtures_dir, request.param)


def test_every_golden_array_is_compared(golden: Golden) -> None:
    """No array of the file is left out: each is an input or a stage of ours."""
    assert set(golden.arrays) <= set(STAGES) | INPUTS


@pytest.mark.parametrize("stage", STAGES)
def test_stage_equals_upstream(golden: Golden, stage: str) -> None:
    """A stage fed with golden inputs gives the golden output."""
    if stage not in golden.arrays:
        assert stage == "ge_text" and golden.speakers is None
        return
    compute, tolerance = STAGES[stage]
    assert_close(compute(golden), golden[stage], tolerance, f"{golden.version} {stage}")


def test_prompt_tokens_are_identical(golden: Golden) -> None:
    """The quantiser finds the same codebook rows, from features of odd length."""
    assert golden["ssl"].shape[2] % 2 == 1
    codes = golden.network.extract_codes(golden["ssl"])
    assert torch.equal(codes, golden["extract_codes"][0])


def test_whole_path_from_spectrogram_and_tokens_to_wave(golden: Golden) -> None:
    """Reference, tokens, text and noise give the golden waveform when chained."""
    assert_close(WHOLE(golden), golden["wav"], END_TO_END, golden.version)


def test_folded_weight_norm_changes_nothing(fixtures_dir: Path) -> None:
    """A network prepared for inference computes the same waveform without weight norm."""
    for version in VERSIONS:
        golden = load(fixtures_dir, version)
        golden.network.prepare_inference()
        assert not any("parametrizations" in name for name in golden.network.state_dict())
        assert_close(WHOLE(golden), golden["wav"], END_TO_END, version)
