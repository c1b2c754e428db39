"""What official files are recognised as, and what is refused without running any of it."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from bench.official_files import (
    FULL_PLUS,
    FULL_PRO,
    FULL_SOVITS,
    FULL_V1,
    TINY_GPT,
    TINY_SOVITS,
    TINY_SOVITS_V1,
    TINY_SPEAKER,
    GptSizes,
    fill,
    gpt_shapes,
    sovits_shapes,
    speaker_shapes,
    write_gpt,
    write_sovits,
    write_vocab,
)
from engine import checkpoint_child
from engine.checkpoint import FileKind, read_official
from engine.errors import CheckpointError


def _container(path: Path, data_pkl: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """Write a torch-like zip around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def _refuse(path: Path, message: str) -> None:
    """Read in this process, as the child does, and expect a refusal."""
    with pytest.raises(checkpoint_child.Refused, match=message):
        checkpoint_child.read(path)


class _Call:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def test_shape_rules_agree_with_the_public_networks(fixtures_dir: Path) -> None:
    """Files that tests write have exactly the tensors of the fixtures."""
    import json

    listed = json.loads(gzip.decompress((fixtures_dir / "shapes.json.gz").read_bytes()))
    if len(listed["gpt"]) != 43:
        pytest.skip("the fixtures have other sizes")
    assert {k: tuple(v) for k, v in listed["gpt"].items()} == gpt_shapes(TINY_GPT)
    assert {k: tuple(v) for k, v in listed["sovits_v2"].items()} == sovits_shapes(TINY_SOVITS)
    assert {k: tuple(v) for k, v in listed["sv"].items()} == speaker_shapes(TINY_SPEAKER)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("pattern", "kind", "tag"),
    [
        ("tiny_gpt*.ckpt", FileKind.GPT, None),
        ("tiny_sovits_v2_*.pth", FileKind.SOVITS, None),
        ("tiny_sovits_v2Pro_*.pth", FileKind.SOVITS, "05"),
        ("tiny_sovits_v2ProPlus_*.pth.gz", FileKind.SOVITS, "06"),
        ("tiny_eres2netv2.ckpt.gz", FileKind.SPEAKER, None),
        ("tiny_hubert", FileKind.HUBERT, None),
        ("tiny_bert", FileKind.BERT, None),
    ],
)
def test_official_files_are_recognised(
    fixtures_dir: Path, tmp_path: Path, pattern: str, kind: FileKind, tag: str | None
) -> None:
    """Every official container is read and told apart, whatever its name."""
    source = next(fixtures_dir.glob(pattern))
    if source.suffix == ".gz":
        unpacked = tmp_path / "anything.bin"
        unpacked.write_bytes(gzip.decompress(source.read_bytes()))
        source = unpacked
    found = read_official(source)
    assert (found.kind, found.version_tag) == (kind, tag)
    assert found.tensors and all(t.dtype != object for t in found.tensors.values())


@pytest.mark.parity
def test_values_equal_what_torch_reads(fixtures_dir: Path) -> None:
    """Reading without torch gives the same bits as torch.load."""
    source = next(fixtures_dir.glob("tiny_gpt*.ckpt"))
    theirs = torch.load(source, weights_only=True)
    ours = read_official(source, FileKind.GPT)
    assert ours.info == theirs["info"] and ours.config == theirs["config"]
    assert ours.tensors.keys() == theirs["weight"].keys()
    for name, tensor in theirs["weight"].items():
        np.testing.assert_array_equal(ours.tensors[name], tensor.numpy())


def test_hparams_become_plain_values(tmp_path: Path) -> None:
    """The pickled `utils.HParams` of a SoVITS file comes out as nested dicts."""
    found = read_official(write_sovits(tmp_path / "a.pth", TINY_SOVITS_V1))
    assert found.config is not None
    assert found.config["model"]["version"] == "v1"
    assert found.config["model"]["upsample_rates"] == [10, 8, 2, 2, 2]
    name = "enc_p.text_embedding.weight"
    expected = fill(name, (322, TINY_SOVITS_V1.hidden))
    np.testing.assert_array_equal(found.tensors[name].astype(np.float32), expected)


def test_every_storage_type_and_layout_is_read(tmp_path: Path) -> None:
    """bf16, f64, integers, bool, views, transposes, scalars and empty tensors come out right."""
    base = torch.arange(24, dtype=torch.float32)
    tensors = {
        "enc_p.text_embedding.weight": base.reshape(4, 6).t(),
        "view": base[5:11],
        "bf16": base.to(torch.bfloat16),
        "f64": base.double(),
        "i64": base.long(),
        "bool": base > 3,
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base[:3].clone()),
    }
    torch.save({"weight": tensors, "config": None, "info": ""}, tmp_path / "x")
    found = read_official(tmp_path / "x").tensors
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor.detach().float().numpy(), err_msg=name)
        assert found[name].shape == tuple(tensor.shape)


def test_safetensors_files_are_read(tmp_path: Path) -> None:
    """A converted model is found by content too."""
    save_file({"enc_p.text_embedding.weight": np.ones((322, 4), np.float16)}, tmp_path / "x.pth")
    assert read_official(tmp_path / "x.pth").kind is FileKind.SOVITS


def test_other_kind_than_expected_names_both(tmp_path: Path) -> None:
    """A GPT given as SoVITS says what it is."""
    path = write_gpt(tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"is GPT .* but SoVITS"):
        read_official(path, FileKind.SOVITS)


_MARK = "executed"


def _hostile(tmp_path: Path) -> dict[str, bytes]:
    """Pickles that would run something, each another way."""
    touch = f"touch {tmp_path / _MARK}"
    write = f"open({str(tmp_path / _MARK)!r}, 'w')"
    call = _Call(os.system, touch)
    nested = {"weight": {"model.x": [call]}, "config": {}, "info": ""}
    return {
        "os.system": pickle.dumps(call, 2),
        "eval": pickle.dumps(_Call(eval, write), 2),
        "nested reduce": pickle.dumps(_Call(map, _Call(eval, write), [1]), 2),
        "in the config": pickle.dumps({"weight": {}, "config": call}, 2),
        "in the weight": pickle.dumps(nested, 4),
        "subprocess": pickle.dumps(_Call(subprocess.Popen, ["touch", str(tmp_path / _MARK)]), 2),
        "getattr chain": b"cbuiltins\ngetattr\n(ccollections\nOrderedDict\nV__init__\ntR.",
        "dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
        "inst opcode": f"(V{touch}\nios\nsystem\n.".encode(),
        "extension": b"\x80\x02\x82\x01.",
        "torch itself": b"ctorch\nload\n(V/etc/passwd\ntR.",
        "other utils": b"cutils\nexec\n(V1\ntR.",
        "persistent id": b"\x80\x02(ccollections\nOrderedDict\nV1\ntQ.",
        "persistent path": _persistent_path(),
        "patch the helper": b"ctorch._utils\n_rebuild_tensor_v2\n}V__call__\nV1\nsb.",
        "patch a class": b"cutils\nHParams\n}V__setstate__\nV1\nsb.",
    }


def _persistent_path() -> bytes:
    """A storage whose key points outside the archive."""
    return b"\x80\x02(X\x07\x00\x00\x00storagectorch\nHalfStorage\nV../../etc\nVcpu\nK\x01tQ."


@pytest.mark.parametrize("name", sorted(_hostile(Path("x"))))
def test_hostile_pickles_are_refused_and_not_run(tmp_path: Path, name: str) -> None:
    """Nothing that a pickle asks for happens, and the error is a typed one."""
    path = _container(tmp_path / "model.ckpt", _hostile(tmp_path)[name])
    with pytest.raises(CheckpointError, match=r"model\.ckpt: "):
        read_official(path)
    assert not (tmp_path / _MARK).exists()


def test_refusal_names_the_forbidden_global(tmp_path: Path) -> None:
    """The user learns which name the file asked for."""
    path = _container(tmp_path / "a.pth", _hostile(tmp_path)["os.system"])
    with pytest.raises(CheckpointError, match=r"(posix|nt)\.system.*nothing of it was run"):
        read_official(path)


def test_hostile_file_would_have_run_with_plain_pickle(tmp_path: Path) -> None:
    """The attack used here is a real one: the plain unpickler does run it."""
    pickle.loads(_hostile(tmp_path)["os.system"])
    assert (tmp_path / _MARK).exists()


def test_memory_exhausting_pickle_ends_the_child_only(tmp_path: Path) -> None:
    """A memo index of 2**31 asks for gigabytes; the limit of the child refuses them."""
    path = _container(tmp_path / "a.pth", b"\x80\x02Nr\xff\xff\xff\x7f.")
    with pytest.raises(CheckpointError, match=r"a\.pth: "):
        read_official(path)


def _tensor_pickle(size: int, shape: str, strides: str) -> bytes:
    """Return {"weight": {"t": tensor}} over storage 0 of `size` float16."""
    text = (
        "\x80\x02}X\x06\x00\x00\x00weight}X\x01\x00\x00\x00tctorch._utils\n_rebuild_tensor_v2\n"
        f"((X\x07\x00\x00\x00storagectorch\nHalfStorage\nV0\nVcpu\nI{size}\ntQI0\n"
        f"({shape}t({strides}tI00\nccollections\nOrderedDict\n)RtRss."
    )
    return text.encode("latin-1")


def test_tensor_past_its_storage_is_refused(tmp_path: Path) -> None:
    """A shape larger than the data does not read foreign memory."""
    path = _container(tmp_path / "a", _tensor_pickle(4, "I8\n", "I1\n"), {"0": b"\0" * 8})
    _refuse(path, "reaches past its storage")


def test_tensor_that_repeats_its_storage_is_refused(tmp_path: Path) -> None:
    """Stride 0 cannot blow eight bytes up to gigabytes."""
    pickled = _tensor_pickle(4, "I100000\nI100000\n", "I0\nI0\n")
    _refuse(_container(tmp_path / "a", pickled, {"0": b"\0" * 8}), "larger than its storage")


def test_storage_of_another_length_is_refused(tmp_path: Path) -> None:
    """The pickle and the zip must agree about sizes."""
    path = _container(tmp_path / "a", _tensor_pickle(4, "I4\n", "I1\n"), {"0": b"\0" * 6})
    _refuse(path, "storage 0 has 6 bytes")


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    """Compressed entries are never unpacked, and overlapping ones are counted."""
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (50 << 20))
    _refuse(bomb, "compressed")
    _refuse(_overlapping(tmp_path / "overlap.pth"), "overlap")


def _overlapping(path: Path) -> Path:
    """Write a zip whose directory names the same bytes many times."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"N." * 5000)
        first = archive.infolist()[0]
        for i in range(20):
            twin = zipfile.ZipInfo(f"archive/data/{i}")
            for name in ("header_offset", "CRC", "compress_size", "file_size", "create_system"):
                setattr(twin, name, getattr(first, name))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True  # type: ignore[attr-defined]
    return path


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_truncated_files_say_so(tmp_path: Path, share: float) -> None:
    """A download cut short is called damaged."""
    path = write_sovits(tmp_path / "a.pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    _refuse(path, "truncated or damaged")


def test_flipped_bytes_are_noticed(tmp_path: Path) -> None:
    """A damaged storage fails its checksum."""
    path = write_gpt(tmp_path / "a.ckpt")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4] = bytes(byte ^ 0xFF for byte in data[middle : middle + 4])
    path.write_bytes(data)
    _refuse(path, "damaged")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinite_weights_are_refused(tmp_path: Path, value: float) -> None:
    """A diverged training is found at import, with the tensor's name."""
    weight = {"enc_p.text_embedding.weight": torch.tensor([[1.0, value]], dtype=torch.float16)}
    torch.save({"weight": weight, "config": {}, "info": ""}, tmp_path / "a.pth")
    _refuse(tmp_path / "a.pth", r"enc_p\.text_embedding\.weight has NaN or inf")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"<!DOCTYPE html><html>", "web page"),
        (gzip.compress(b"x", mtime=0), "gunzip"),
        (b"RIFF____WAVEfmt ", "not a torch or safetensors file"),
        (b"09\x03\x04 a tag of the future", "version tag"),
        (pickle.dumps({"weight": 1}), "bare pickle"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    """What people download by mistake gets a message that says what it is."""
    (tmp_path / "s2G.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_official(tmp_path / "s2G.pth")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"model": {}, "optimizer": {}, "iteration": 1}, "a training state"),
        ({"weight": {"cfm.a": torch.ones(1)}, "config": {}, "info": ""}, "v3/v4"),
        ({"weight": {"x": torch.ones(1)}, "config": {}, "lora_rank": 32}, "v3/v4"),
        ({"discriminators.0.conv": torch.ones(1)}, "no model of this family"),
        ([1, 2], "holds a list"),
    ],
)
def test_other_models_are_named(tmp_path: Path, tree: object, message: str) -> None:
    """Well-formed files that are not a usable model are told apart."""
    torch.save(tree, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message):
        read_official(tmp_path / "a.pth")


def test_ordinary_zip_is_not_a_model(tmp_path: Path) -> None:
    """A zip without data.pkl is refused."""
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hi")
    _refuse(tmp_path / "a.pth", "not one that torch.save wrote")


def test_missing_path_is_an_error(tmp_path: Path) -> None:
    """A wrong path is named."""
    with pytest.raises(CheckpointError, match="no such file"):
        read_official(tmp_path / "nothing.pth")


def test_endless_config_is_refused(tmp_path: Path) -> None:
    """A config that contains itself ends at a depth limit."""
    endless: dict[str, Any] = {}
    endless["self"] = endless
    with pytest.raises(checkpoint_child.Refused, match="nested more than"):
        checkpoint_child.plain(endless)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "no config.json"),
        ("{", "not a transformers config"),
        ('{"model_type": "llama"}', "valid: hubert, bert"),
        ('{"model_type": "hubert"}', "neither model.safetensors"),
    ],
)
def test_incomplete_folders_say_what_is_missing(
    tmp_path: Path, config: str | None, message: str
) -> None:
    """A transformers folder must have its config and weights."""
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=message):
        read_official(tmp_path)


def test_vocabulary_comes_from_either_tokenizer_file(fixtures_dir: Path, tmp_path: Path) -> None:
    """vocab.txt and tokenizer.json give the same list; without both there is none."""
    folder = tmp_path / "bert"
    shutil.copytree(fixtures_dir / "tiny_bert", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    assert read_official(folder).extra["vocab"] is None
    write_vocab(folder, 64)
    fast = read_official(folder).extra["vocab"]
    assert len(fast) == 64 and fast[1] == "[UNK]"
    (folder / "vocab.txt").write_text("\n".join(fast) + "\n", encoding="utf-8")
    assert read_official(folder).extra["vocab"] == fast


def test_reader_needs_no_torch(tmp_path: Path) -> None:
    """Neither the parent nor the child imports torch."""
    path = write_gpt(tmp_path / "a.ckpt")
    code = (
        "import sys; from engine.checkpoint import read_official;"
        f"read_official({str(path)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_child_admits_nothing_beyond_the_list() -> None:
    """The allow-list is closed: tensors, OrderedDict, HParams."""
    allowed = {f"{m}.{n}" for m, n in checkpoint_child.RestrictedUnpickler.ALLOWED}
    others = {a for a in allowed if not (a.startswith("torch.") and a.endswith("Storage"))}
    assert others == {
        "collections.OrderedDict",
        "utils.HParams",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
    }
    with pytest.raises(checkpoint_child.Refused):
        checkpoint_child.RestrictedUnpickler(io.BytesIO(b"cbuiltins\neval\n.")).load()


@pytest.mark.full_size
@pytest.mark.parametrize(
    ("sizes", "millions"),
    [(FULL_V1, 40.778), (FULL_SOVITS, 40.816), (FULL_PRO, 65.788), (FULL_PLUS, 84.698)],
)
def test_full_size_sovits_files_are_read(tmp_path: Path, sizes: Any, millions: float) -> None:
    """Full-size files are read within the child's limits; parameters as counted upstream."""
    with warnings.catch_warnings():
        found = read_official(write_sovits(tmp_path / "a.pth", sizes))
    counted = [t.size for n, t in found.tensors.items() if "_codebook" not in n]
    assert round(sum(counted) / 1e6, 3) == millions


@pytest.mark.full_size
def test_full_size_gpt_file_is_read(tmp_path: Path) -> None:
    """The 155 MB GPT is read; parameters as counted upstream."""
    found = read_official(write_gpt(tmp_path / "a.ckpt", GptSizes()))
    assert sum(t.size for t in found.tensors.values()) == 77_606_402
