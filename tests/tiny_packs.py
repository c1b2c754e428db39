"""Imports the tiny official-format checkpoints as packs, for every test that needs a real model."""

from __future__ import annotations

import functools
import gzip
import shutil
import tempfile
from pathlib import Path

from bench.official_files import (
    TINY_GPT_V1,
    TINY_SOVITS_V1,
    write_gpt,
    write_sovits,
    write_vocab,
)
from engine.importer import ImportRequest, ImportResult, import_official
from engine.pack import RANDOM_NOTICE, Pack, load_pack

FAMILIES = ("v1", "v2", "v2Pro", "v2ProPlus")
_BERT_TOKENS = 64


def tiny_request(fixtures: Path, folder: Path, family: str) -> ImportRequest:
    """Return the request that imports a tiny model; files that must be written go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if family == "v1":
        gpt = write_gpt(folder / "gpt.ckpt", TINY_GPT_V1)
        sovits = write_sovits(folder / "sovits.pth", TINY_SOVITS_V1)
    else:
        gpt = next(fixtures.glob("tiny_gpt-*.ckpt"))
        sovits = unpacked(next(fixtures.glob(f"tiny_sovits_{family}_*")), folder)
    is_pro = family.startswith("v2Pro")
    return ImportRequest(
        name=f"tiny-{family}",
        out=folder / "packs" / f"tiny-{family}",
        gpt=gpt,
        sovits=sovits,
        hubert=fixtures / "tiny_hubert",
        bert=bert_with_vocab(fixtures, folder),
        speaker=unpacked(next(fixtures.glob("tiny_eres2netv2*")), folder) if is_pro else None,
        notice=RANDOM_NOTICE,
        licences=("generated numbers",),
    )


def tiny_pack(fixtures: Path, folder: Path, family: str) -> Pack:
    """Return a tiny model as a pack of the caller's own."""
    _, made = tiny_import(fixtures, family)
    target = folder / "packs" / made.pack.path.name
    shutil.copytree(made.pack.path, target)
    return load_pack(target)


@functools.cache
def tiny_import(fixtures: Path, family: str) -> tuple[ImportRequest, ImportResult]:
    """Import a tiny model, once for all: it takes three processes. The pack is for reading."""
    request = tiny_request(fixtures, Path(_kept().name) / family, family)
    return request, import_official(request)


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that lives as long as this process."""
    return tempfile.TemporaryDirectory(prefix="tiny-packs-")


def unpacked(source: Path, folder: Path) -> Path:
    """Return `source`, gunzipped into `folder` if it is packed."""
    if source.suffix != ".gz":
        return source
    target = folder / source.stem
    target.write_bytes(gzip.decompress(source.read_bytes()))
    return target


def bert_with_vocab(fixtures: Path, folder: Path) -> Path:
    """Copy the BERT folder and give it the vocabulary the fixtures lack."""
    target = folder / "bert"
    if not target.exists():
        shutil.copytree(fixtures / "tiny_bert", target, copy_function=shutil.copyfile)
        target.chmod(0o755)
        write_vocab(target, _BERT_TOKENS)
    return target
