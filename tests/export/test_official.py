"""A pack written as official files is the same model, to the bit, and loads as those do."""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from engine.checkpoint import read_official
from engine.errors import CheckpointError
from engine.importer import ImportRequest, import_official
from engine.pack import Pack, Part
from export.official import OfficialPair, write_official
from tests.micro_pack import bare_pack
from tests.tiny_packs import FAMILIES, tiny_import


@pytest.fixture(scope="module", params=FAMILIES)
def written(
    fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[ImportRequest, Pack, OfficialPair]:
    """Each tiny model: how it was imported, its pack, and what was written of it."""
    wanted, result = tiny_import(fixtures_dir, request.param)
    out = tmp_path_factory.mktemp("official") / "out"
    return wanted, result.pack, write_official(result.pack, out)


@pytest.mark.parity
def test_files_hold_the_tensors_they_were_imported_from(
    written: tuple[ImportRequest, Pack, OfficialPair],
) -> None:
    """Names, types and bits, but for the part that serves training only."""
    wanted, _, pair = written
    for before, after in ((wanted.gpt, pair.gpt), (wanted.sovits, pair.sovits)):
        first, second = read_official(before), read_official(after)
        kept = {n: t for n, t in first.tensors.items() if not n.startswith("enc_q.")}
        assert second.tensors.keys() == kept.keys()
        assert second.version_tag == first.version_tag
        for name, tensor in kept.items():
            assert second.tensors[name].dtype == tensor.dtype, name
            assert np.array_equal(second.tensors[name], tensor), name


@pytest.mark.parity
def test_importing_them_gives_the_same_pack(
    written: tuple[ImportRequest, Pack, OfficialPair], tmp_path: Path
) -> None:
    """Config and weights are equal: nothing is lost on the way out and in."""
    wanted, pack, pair = written
    again = import_official(
        replace(wanted, gpt=pair.gpt, sovits=pair.sovits, out=tmp_path / "again")
    ).pack
    assert again.config == pack.config
    assert again.fingerprint == pack.fingerprint
    for part in (Part.T2S, Part.ACOUSTIC):
        first, second = pack.tensors(part), again.tensors(part)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parity
def test_public_loader_finds_what_it_reads(
    written: tuple[ImportRequest, Pack, OfficialPair],
) -> None:
    """After its own two steps (the first bytes, then torch.load) every key it takes is there."""
    _, pack, pair = written
    data = pair.sovits.read_bytes()
    tags = {"v2Pro": b"05", "v2ProPlus": b"06"}
    assert data[:2] == tags.get(pack.family, b"PK")
    sovits = torch.load(io.BytesIO(b"PK" + data[2:]), weights_only=True)
    gpt = torch.load(pair.gpt, weights_only=True)
    for content in (sovits, gpt):
        assert isinstance(content["weight"], OrderedDict)
        assert {"weight", "config", "info"} == content.keys()
    config = sovits["config"]
    assert config["train"]["segment_size"] // config["data"]["hop_length"] == 32
    data_keys = {"filter_length", "sampling_rate", "hop_length", "win_length", "n_speakers"}
    assert data_keys <= config["data"].keys()
    required = {
        "inter_channels", "hidden_channels", "filter_channels", "n_heads", "n_layers",
        "kernel_size", "p_dropout", "resblock", "resblock_kernel_sizes",
        "resblock_dilation_sizes", "upsample_rates", "upsample_initial_channel",
        "upsample_kernel_sizes", "gin_channels", "semantic_frame_rate",
    }  # fmt: skip
    assert required <= config["model"].keys()
    assert gpt["config"]["data"]["max_sec"] > 0


def test_weights_that_do_not_fit_float16_stay_float32(tmp_path: Path, fixtures_dir: Path) -> None:
    """A value below float16's steps survives."""
    pack = tiny_import(fixtures_dir, "v2")[1].pack
    tensors = pack.tensors(Part.T2S)
    tensors["head.weight"][0, 0] = np.float32(1 + 2**-20)

    class Fine:
        """The pack, with one weight that is finer."""

        name, family, config = pack.name, pack.family, pack.config

        def tensors(self, part: Part) -> dict[str, np.ndarray]:
            return tensors if part is Part.T2S else pack.tensors(part)

    pair = write_official(Fine(), tmp_path / "out")  # type: ignore[arg-type]
    read = read_official(pair.gpt).tensors
    assert read["model.ar_predict_layer.weight"][0, 0] == np.float32(1 + 2**-20)
    assert read["model.bert_proj.weight"].dtype == np.float16


def test_what_cannot_be_written_is_said(tmp_path: Path, fixtures_dir: Path) -> None:
    """Another network, a file in the way, a path that is taken for a base model."""
    with pytest.raises(CheckpointError, match="family nano.*v2ProPlus"):
        write_official(bare_pack(tmp_path / "micro"), tmp_path)
    pack = tiny_import(fixtures_dir, "v2")[1].pack
    with pytest.raises(CheckpointError, match="base models"):
        write_official(pack, tmp_path / "pretrained_models")
    write_official(pack, tmp_path / "out")
    with pytest.raises(CheckpointError, match="--replace"):
        write_official(pack, tmp_path / "out")
    write_official(pack, tmp_path / "out", replace=True)
