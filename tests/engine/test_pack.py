"""Model packs: what is written is what is read, and damage is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from engine.errors import CheckpointError, InvalidParameter
from engine.model_config import (
    AcousticConfig,
    BertConfig,
    IstftConfig,
    ModelConfig,
    SpeakerConfig,
    SslConfig,
    T2SConfig,
)
from engine.pack import Pack, PackInfo, Part, load_pack, write_pack
from engine.types import Language, Sampling

CONFIG = ModelConfig(
    family="v2",
    t2s=T2SConfig(num_layers=1, hidden_dim=8),
    acoustic=AcousticConfig(latent_dim=4),
    ssl=SslConfig(dim=32, settings={"conv_dim": [16, 16], "layer_norm_eps": 1e-5}),
    speaker=SpeakerConfig(dim=640),
    bert=BertConfig(dim=24),
)
INFO = PackInfo("demo", (Language.ZH, Language.EN), "random weights, no speech", ("MIT",))
PARTS = {
    Part.T2S: {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "scalar": np.array(3)},
    Part.ACOUSTIC: {"b": np.linspace(0, 1, 5, dtype=np.float32).reshape(5, 1).T},
}


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """A small pack."""
    return write_pack(tmp_path / "packs" / "demo", INFO, CONFIG, PARTS, vocab=["[PAD]", "你"])


def test_pack_comes_back_as_written(pack: Pack) -> None:
    """Config, notices, vocabulary and weights survive; float16 comes back as float32."""
    again = load_pack(pack.path)
    assert again == pack
    assert (again.name, again.family, again.notice) == ("demo", "v2", INFO.notice)
    assert again.config == ModelConfig.from_json(json.loads(json.dumps(CONFIG.to_json())))
    assert again.languages == INFO.languages and again.vocab() == ["[PAD]", "你"]
    t2s = again.tensors("t2s")
    assert t2s["a"].dtype == np.float32 and t2s["scalar"].shape == ()
    np.testing.assert_array_equal(t2s["a"], PARTS[Part.T2S]["a"])
    np.testing.assert_array_equal(again.tensors(Part.ACOUSTIC)["b"], PARTS[Part.ACOUSTIC]["b"])
    again.verify()


def test_istft_decoder_config_comes_back(tmp_path: Path) -> None:
    """The other kind of decoder is told apart by its kind."""
    acoustic = replace(CONFIG.acoustic, decoder=IstftConfig(blocks=2))
    config = replace(CONFIG, acoustic=acoustic, speaker=None, bert=None)
    assert write_pack(tmp_path / "x", INFO, config, PARTS).config.acoustic == acoustic


def test_fingerprint_follows_the_model_and_not_its_name(pack: Pack, tmp_path: Path) -> None:
    """Another name keeps the fingerprint; another number or weight changes it."""

    def fingerprint(name: str, info: PackInfo, config: ModelConfig, scale: float) -> str:
        parts = {**PARTS, Part.ACOUSTIC: {"b": PARTS[Part.ACOUSTIC]["b"] * np.float32(scale)}}
        return write_pack(tmp_path / name, info, config, parts).fingerprint

    assert fingerprint("a", replace(INFO, name="other", notice=""), CONFIG, 1) == pack.fingerprint
    changed = replace(CONFIG, t2s=replace(CONFIG.t2s, num_heads=4))
    assert fingerprint("b", INFO, changed, 1) != pack.fingerprint
    assert fingerprint("c", INFO, CONFIG, 2) != pack.fingerprint


def test_a_number_that_a_later_version_adds_keeps_the_fingerprint(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or every voice and graph of a pack would be refused after an upgrade."""
    to_json = ModelConfig.to_json
    monkeypatch.setattr(ModelConfig, "to_json", lambda self: {**to_json(self), "later": 1})
    assert load_pack(pack.path).fingerprint == pack.fingerprint


def test_a_pack_may_say_how_it_is_sampled(pack: Pack, tmp_path: Path) -> None:
    """What is written comes back; a pack without the key has upstream's, a bad value is named."""
    own = Sampling(temperature=0.8, repetition_penalty=1.05)
    made = write_pack(
        tmp_path / "own", replace(INFO, sampling=own, prompts=False, lead_in=(3, 1)), CONFIG, PARTS
    )
    assert not made.info.prompts and pack.info.prompts
    assert made.info.lead_in == (3, 1) and pack.info.lead_in == ()
    assert (made.sampling, made.fingerprint) == (own, pack.fingerprint)
    manifest = made.path / "pack.json"
    data = json.loads(manifest.read_text())
    del data["sampling"], data["prompts"]
    manifest.write_text(json.dumps(data))
    assert load_pack(made.path).sampling == Sampling()
    assert load_pack(made.path).info.prompts
    data["sampling"] = {"repetition_penalty": 9, "of_a_later_version": 1}
    manifest.write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=r"sampling\.repetition_penalty is 9, valid: a num"):
        load_pack(made.path)


def test_every_file_can_be_read_by_another_user(pack: Pack) -> None:
    """Whoever imports a model need not be whom the server runs as."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in pack.path.glob("*.safetensors")}
    assert modes == dict.fromkeys(("t2s.safetensors", "acoustic.safetensors"), 0o644)


def test_missing_part_is_named(pack: Pack) -> None:
    """Asking for a network the pack lacks lists those it has."""
    assert not pack.has(Part.BERT)
    with pytest.raises(CheckpointError, match="no bert network; it has: t2s, acoustic"):
        pack.tensors("bert")


def test_cut_short_file_is_found_at_load(pack: Pack) -> None:
    """Sizes are compared when the pack is opened."""
    path = pack.path / "t2s.safetensors"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match="cut short"):
        load_pack(pack.path)


def test_changed_file_is_found_by_verify(pack: Pack) -> None:
    """A flipped byte keeps the size and is found by the hash."""
    path = pack.path / "acoustic.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="acoustic.safetensors: its contents changed"):
        load_pack(pack.path).verify()


def test_missing_file_is_named(pack: Pack) -> None:
    """A pack copied without one of its files is refused."""
    (pack.path / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="vocab.txt is missing"):
        load_pack(pack.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"languages": ["xx"]}, "malformed"),
        ({"files": {}}, "names no t2s"),
        ({"model": {"family": "v2"}}, "model"),
        ({"model": {**CONFIG.to_json(), "extra": 1}}, "unknown extra"),
    ],
)
def test_bad_manifests_are_refused(pack: Pack, change: dict[str, object], message: str) -> None:
    """A manifest of another format, or edited by hand, gives a typed error."""
    path = pack.path / "pack.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))
    with pytest.raises(CheckpointError, match=message):
        load_pack(pack.path)


def test_manifest_cannot_name_files_outside(pack: Pack) -> None:
    """`..` in a file name is refused."""
    path = pack.path / "pack.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["files"]["../../secret"] = {"sha256": "", "bytes": 1}
    path.write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="names a file outside"):
        load_pack(pack.path)


def test_folder_without_manifest_is_not_a_pack(tmp_path: Path) -> None:
    """The message says how to make one."""
    with pytest.raises(CheckpointError, match="sovits-live model import"):
        load_pack(tmp_path)


def test_existing_pack_is_replaced_only_when_asked(pack: Pack) -> None:
    """Without `replace` nothing is touched; with it the new pack takes the path."""
    with pytest.raises(CheckpointError, match="--replace"):
        write_pack(pack.path, INFO, CONFIG, PARTS)
    replaced = write_pack(pack.path, replace(INFO, notice=""), CONFIG, PARTS, replace=True)
    assert replaced.notice == ""
    assert [p.name for p in pack.path.parent.iterdir()] == ["demo"]


def test_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    """A folder that is no pack stays as it is, even with `replace`."""
    (tmp_path / "photos").mkdir()
    with pytest.raises(CheckpointError, match="not a model pack"):
        write_pack(tmp_path / "photos", INFO, CONFIG, PARTS, replace=True)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A pack that cannot be written does not appear, and no rest of it stays."""
    parts = {Part.T2S: {"bad": np.array([object()])}}
    with pytest.raises(SafetensorError):
        write_pack(tmp_path / "x", INFO, CONFIG, parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a b", "a" * 65, ".hidden"])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    """A name becomes a folder name, so it is checked."""
    with pytest.raises(InvalidParameter, match="name is"):
        write_pack(tmp_path / "x", replace(INFO, name=name), CONFIG, PARTS)
